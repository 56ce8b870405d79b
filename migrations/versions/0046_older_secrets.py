"""A webhook keeps each secret it replaced for its time, not only the last

Revision ID: 0046
Revises: 0043
"""

from alembic import op

revision = "0046"
down_revision = "0043"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE webhooks
          ALTER sealed_before TYPE bytea[] USING CASE WHEN sealed_before IS NOT NULL THEN ARRAY[sealed_before] END,
          ALTER before_until TYPE timestamptz[] USING CASE WHEN before_until IS NOT NULL THEN ARRAY[before_until] END
    """)


def downgrade() -> None:
    op.execute("""
        ALTER TABLE webhooks
          ALTER sealed_before TYPE bytea USING sealed_before[1],
          ALTER before_until TYPE timestamptz USING before_until[1]
    """)
