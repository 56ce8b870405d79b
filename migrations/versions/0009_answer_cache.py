"""Answers kept in PostgreSQL

Revision ID: 0009
Revises: 0008
"""

from alembic import op

from cognitionos.platform.schema import dispatch_policy, drop_functions, install_function, tenant_table

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_FUNCTIONS = "llm_gateway/infrastructure/durable_cache.sql"
_ANSWERS = """
CREATE TABLE cached_answers (
  tenant_id uuid NOT NULL,
  key text NOT NULL,
  epoch bigint NOT NULL,
  scopes text[] NOT NULL,
  stored_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  bytes int NOT NULL,
  answer bytea NOT NULL,
  PRIMARY KEY (tenant_id, key)
)
"""
# the row of the empty scope counts a tenant's invalidations; the others have the number of the last one of theirs
_VOIDS = """
CREATE TABLE cache_voids (
  tenant_id uuid NOT NULL,
  scope text NOT NULL,
  epoch bigint NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, scope)
)
"""


def upgrade() -> None:
    op.execute(_ANSWERS)
    op.execute(_VOIDS)
    op.execute("CREATE INDEX cached_answers_by_end ON cached_answers (expires_at)")
    op.execute("CREATE INDEX cached_answers_by_age ON cached_answers (stored_at DESC, tenant_id, key) INCLUDE (bytes)")
    tenant_table("cached_answers", grants="SELECT, DELETE")
    tenant_table("cache_voids")
    dispatch_policy("cached_answers")
    dispatch_policy("cache_voids", grants="SELECT, DELETE")
    install_function(_FUNCTIONS)
    op.execute("ALTER TABLE calls ADD COLUMN cache_age_s int")


def downgrade() -> None:
    op.execute("ALTER TABLE calls DROP COLUMN cache_age_s")
    drop_functions(_FUNCTIONS)
    op.execute("DROP TABLE cache_voids")
    op.execute("DROP TABLE cached_answers")
