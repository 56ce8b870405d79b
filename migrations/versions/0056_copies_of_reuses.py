"""Whoever got a copy of a reused answer can judge it: the copy names the reuse that its judgement is one of

Revision ID: 0056
Revises: 0053
"""

from alembic import op

revision = "0056"
down_revision = "0053"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE semantic_reuses ADD COLUMN copy_of uuid")
    op.execute("CREATE INDEX semantic_reuses_copies ON semantic_reuses (tenant_id, at) WHERE copy_of IS NOT NULL")


def downgrade() -> None:
    op.execute("ALTER TABLE semantic_reuses DROP COLUMN copy_of")
