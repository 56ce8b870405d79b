"""An API key knows which one it replaced: budgets of that one are its own

Revision ID: 0037
Revises: 0033
"""

from alembic import op

revision = "0037"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE api_keys ADD COLUMN replaces uuid")


def downgrade() -> None:
    op.execute("ALTER TABLE api_keys DROP COLUMN replaces")
