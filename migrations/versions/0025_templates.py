"""Workflows that are templates: a schema of what a run is given

Revision ID: 0025
Revises: 0018
"""

from alembic import op

revision = "0025"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE workflows ADD COLUMN input_schema jsonb")


def downgrade() -> None:
    op.execute("ALTER TABLE workflows DROP COLUMN input_schema")
