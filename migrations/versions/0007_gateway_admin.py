"""Circuits' history; tenants' own providers, routes and role defaults

Revision ID: 0007
Revises: 0006
"""

from alembic import op

from cognitionos.platform.schema import tenant_table

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

CIRCUIT_CHANGES = """
CREATE TABLE circuit_changes (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  deployment text NOT NULL,
  state_before text NOT NULL,
  state_after text NOT NULL,
  failures int NOT NULL
)
"""

MODEL_PROVIDERS = """
CREATE TABLE model_providers (
  tenant_id uuid NOT NULL,
  name text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('openai', 'anthropic')),
  base_url text NOT NULL,
  sealed_key bytea,
  models text[] NOT NULL,
  free boolean NOT NULL,
  recover_tool_calls boolean NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, name)
)
"""

MODEL_ROUTES = """
CREATE TABLE model_routes (
  tenant_id uuid NOT NULL,
  name text NOT NULL,
  candidates jsonb NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, name)
)
"""

MODEL_ROLE_DEFAULTS = """
CREATE TABLE model_role_defaults (
  tenant_id uuid NOT NULL,
  role text NOT NULL,
  temperature double precision CHECK (temperature BETWEEN 0 AND 2),
  max_tokens int CHECK (max_tokens > 0),
  changed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, role)
)
"""

TENANT_TABLES = {
    "model_providers": MODEL_PROVIDERS,
    "model_routes": MODEL_ROUTES,
    "model_role_defaults": MODEL_ROLE_DEFAULTS,
}


def upgrade() -> None:
    for name, table in TENANT_TABLES.items():
        op.execute(table)
        tenant_table(name)
    op.execute(CIRCUIT_CHANGES)
    op.execute("CREATE INDEX circuit_changes_latest ON circuit_changes (deployment, at DESC)")
    # written by every process and read by the operator: the app role cannot see in it what other tenants' do
    op.execute("GRANT INSERT ON circuit_changes TO cognitionos_app")


def downgrade() -> None:
    for name in TENANT_TABLES:
        op.execute(f"DROP TABLE {name}")
    op.execute("DROP TABLE circuit_changes")
