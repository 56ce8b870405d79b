"""A worker renews what it knows that it holds, and nothing else

Workers of the version before go on with `renew_leases` meanwhile.

Revision ID: 0049
Revises: 0048
"""

from cognitionos.platform.schema import drop_functions, install_function

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None

RENEW = "planning/infrastructure/renew_held.sql"


def upgrade() -> None:
    install_function(RENEW)


def downgrade() -> None:
    drop_functions(RENEW)
