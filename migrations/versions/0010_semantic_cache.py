"""Answers to questions that mean the same

Revision ID: 0010
Revises: 0009
"""

from alembic import op

from cognitionos.platform.schema import dispatch_policy, drop_functions, install_function, tenant_table

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

FUNCTIONS = "llm_gateway/infrastructure/semantic.sql"

SETTINGS = """
CREATE TABLE semantic_settings (
  tenant_id uuid PRIMARY KEY,
  enabled boolean NOT NULL,
  error_bound double precision NOT NULL CHECK (error_bound BETWEEN 0 AND 1),
  ttl_s int NOT NULL CHECK (ttl_s > 0),
  shadow_rate double precision NOT NULL CHECK (shadow_rate BETWEEN 0 AND 1),
  judged_since timestamptz NOT NULL DEFAULT now(),
  changed_at timestamptz NOT NULL DEFAULT now()
)
"""

# rows are scanned for their vectors: answers stand apart
ANSWERS = """
CREATE TABLE semantic_answers (
  tenant_id uuid NOT NULL,
  key text NOT NULL,
  scope text NOT NULL,
  question text NOT NULL,
  embedding halfvec(256) NOT NULL,
  wire bytea NOT NULL,
  model text NOT NULL,
  cost_nanousd bigint NOT NULL,
  epoch bigint NOT NULL,
  scopes text[] NOT NULL,
  stored_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, key)
) WITH (toast_tuple_target = 1024)
"""

REUSES = """
CREATE TABLE semantic_reuses (
  tenant_id uuid NOT NULL,
  call_id uuid NOT NULL,
  key text NOT NULL,
  answer_key text NOT NULL,
  similarity double precision NOT NULL,
  score double precision NOT NULL,
  served boolean NOT NULL,
  correct boolean,
  judged_by text CHECK (judged_by IN ('feedback', 'shadow', 'near')),
  judged_at timestamptz,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, call_id),
  CHECK ((correct IS NULL) = (judged_by IS NULL) AND (correct IS NULL) = (judged_at IS NULL))
)
"""

TABLES = {"semantic_settings": SETTINGS, "semantic_answers": ANSWERS, "semantic_reuses": REUSES}


def upgrade() -> None:
    for name, table in TABLES.items():
        op.execute(table)
        tenant_table(name)
    op.execute("CREATE INDEX semantic_answers_scope ON semantic_answers (tenant_id, scope)")
    op.execute("CREATE INDEX semantic_answers_expiry ON semantic_answers (expires_at)")
    op.execute(
        "CREATE INDEX semantic_answers_embedding ON semantic_answers USING hnsw (embedding halfvec_cosine_ops) "
        "WITH (m = 16, ef_construction = 64)"
    )
    op.execute(
        "CREATE INDEX semantic_reuses_judged ON semantic_reuses (tenant_id, judged_at) WHERE correct IS NOT NULL"
    )
    op.execute("CREATE INDEX semantic_reuses_wrong ON semantic_reuses (tenant_id, key, answer_key) WHERE NOT correct")
    op.execute("CREATE INDEX semantic_reuses_age ON semantic_reuses (at)")
    dispatch_policy("semantic_answers", grants="SELECT, DELETE")
    dispatch_policy("semantic_reuses", grants="SELECT, DELETE")
    install_function(FUNCTIONS)


def downgrade() -> None:
    drop_functions(FUNCTIONS)
    for name in TABLES:
        op.execute(f"DROP TABLE {name}")
