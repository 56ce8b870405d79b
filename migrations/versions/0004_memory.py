"""Memories

Revision ID: 0004
Revises: 0003
"""

from alembic import op

from cognitionos.platform.schema import dispatch_policy, drop_functions, install_function, tenant_table

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FUNCTIONS = "memory/infrastructure/search.sql"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE memories (
          id uuid PRIMARY KEY,
          tenant_id uuid NOT NULL,
          project_id uuid NOT NULL,
          kind text NOT NULL,
          content text NOT NULL,
          content_hash bytea NOT NULL,
          source jsonb NOT NULL DEFAULT '{}',
          tags text[] NOT NULL DEFAULT '{}',
          confidence double precision NOT NULL CHECK (confidence BETWEEN 0 AND 1),
          created_at timestamptz NOT NULL,
          valid_from timestamptz NOT NULL,
          valid_until timestamptz,
          superseded_by uuid,
          words int NOT NULL,
          terms tsvector NOT NULL,
          embedding halfvec(256),
          embedding_model text,
          embedding_due_at timestamptz NOT NULL DEFAULT now(),
          CHECK ((embedding IS NULL) = (embedding_model IS NULL))
        )
        """
    )
    op.execute("CREATE INDEX memories_project ON memories (tenant_id, project_id, id) INCLUDE (words)")
    op.execute(
        "CREATE UNIQUE INDEX memories_content ON memories (tenant_id, project_id, content_hash) "
        "WHERE superseded_by IS NULL"
    )
    # fastupdate off: a search never has to read a list of pending entries
    op.execute("CREATE INDEX memories_terms ON memories USING gin (terms) WITH (fastupdate = off)")
    op.execute(
        "CREATE INDEX memories_embedding ON memories USING hnsw (embedding halfvec_cosine_ops) "
        "WITH (m = 16, ef_construction = 64)"
    )
    op.execute("CREATE INDEX memories_unembedded ON memories (embedding_due_at) WHERE embedding IS NULL")
    tenant_table("memories")
    dispatch_policy("memories", grants="SELECT, UPDATE")
    install_function(FUNCTIONS)


def downgrade() -> None:
    drop_functions(FUNCTIONS)
    op.execute("DROP TABLE memories")
