"""Kept answers have the tags and models' names of everyone who got them, not only of whoever asked first

Revision ID: 0039
Revises: 0046
"""

from alembic import op

from cognitionos.platform.schema import tenant_table

revision = "0039"
down_revision = "0046"
branch_labels = None
depends_on = None

_NAMES = """
CREATE TABLE cache_names (
  tenant_id uuid NOT NULL,
  scope text NOT NULL,
  key text NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, scope, key)
)
"""


def upgrade() -> None:
    op.execute(_NAMES)
    op.execute("CREATE INDEX cache_names_by_key ON cache_names (tenant_id, key)")
    op.execute("CREATE INDEX cache_names_by_age ON cache_names (tenant_id, at)")
    tenant_table("cache_names")


def downgrade() -> None:
    op.execute("DROP TABLE cache_names")
