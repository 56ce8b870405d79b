"""Under which name a tenant's provider takes the completion limit

Revision ID: 0058
Revises: 0056
"""

from alembic import op

revision = "0058"
down_revision = "0056"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
ALTER TABLE model_providers ADD COLUMN limit_field text
  CHECK (limit_field IN ('max_tokens', 'max_completion_tokens'))
""")


def downgrade() -> None:
    op.execute("ALTER TABLE model_providers DROP COLUMN limit_field")
