"""A claim says whether more is due

Revision ID: 0030
Revises: 0037
"""

from cognitionos.platform.schema import drop_functions, install_function

revision = "0030"
down_revision = "0037"
branch_labels = None
depends_on = None

CLAIM = "planning/infrastructure/claim_and_look.sql"


def upgrade() -> None:
    install_function(CLAIM)


def downgrade() -> None:
    drop_functions(CLAIM)
