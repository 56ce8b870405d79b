"""Workflows that are templates: a schema of what a run is given; dead letters to look at and to try again

Revision ID: 0025
Revises: 0018
"""

from alembic import op

from cognitionos.platform.schema import drop_functions, install_function

revision = "0025"
down_revision = "0018"
branch_labels = None
depends_on = None

DEAD = "platform/dead_deliveries.sql"


def upgrade() -> None:
    op.execute("ALTER TABLE workflows ADD COLUMN input_schema jsonb")
    op.execute("CREATE INDEX outbox_dead ON outbox (dead_at) WHERE dead_at IS NOT NULL")
    install_function(DEAD)


def downgrade() -> None:
    drop_functions(DEAD)
    op.execute("DROP INDEX outbox_dead")
    op.execute("ALTER TABLE workflows DROP COLUMN input_schema")
