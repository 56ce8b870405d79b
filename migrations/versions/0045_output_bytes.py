"""Tasks say how large their output is, so that what is read for others is counted before it is read

Revision ID: 0045
Revises: 0039
"""

from alembic import op

revision = "0045"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE tasks ADD COLUMN output_bytes int")


def downgrade() -> None:
    op.execute("ALTER TABLE tasks DROP COLUMN output_bytes")
