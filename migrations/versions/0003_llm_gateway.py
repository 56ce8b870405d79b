"""Ledger, budgets, holds, prices

Revision ID: 0003
Revises: 0002
"""

from alembic import op

from cognitionos.platform.schema import dispatch_policy, drop_functions, install_function, tenant_table

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FUNCTIONS = ("hold", "settle", "sweep_holds")

CALLS = """
CREATE TABLE calls (
  call_id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL,
  settled_at timestamptz NOT NULL,
  project_id uuid NOT NULL,
  api_key_id uuid,
  user_id text,
  goal_id uuid,
  run_id uuid,
  task_id text,
  agent_run_id uuid,
  kind text NOT NULL,
  outcome text NOT NULL,
  model_asked text NOT NULL,
  provider text NOT NULL,
  model text NOT NULL,
  route_reason text NOT NULL,
  cache text NOT NULL,
  prompt_tokens bigint NOT NULL,
  cached_tokens bigint NOT NULL,
  cache_write_tokens bigint NOT NULL,
  completion_tokens bigint NOT NULL,
  reasoning_tokens bigint NOT NULL,
  estimated boolean NOT NULL,
  cost_nanousd bigint NOT NULL,
  priced boolean NOT NULL,
  saved_nanousd bigint NOT NULL,
  latency_ms int NOT NULL,
  first_token_ms int,
  attempts int NOT NULL,
  finish_reason text,
  streamed boolean NOT NULL,
  simulated boolean NOT NULL,
  limit_lowered boolean NOT NULL
)
"""

BUDGETS = """
CREATE TABLE budgets (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id uuid NOT NULL,
  subject text NOT NULL,
  period text NOT NULL CHECK (period IN ('total', 'day', 'week', 'month')),
  time_zone text NOT NULL DEFAULT 'UTC',
  limit_nanousd bigint NOT NULL CHECK (limit_nanousd >= 0),
  soft numeric NOT NULL DEFAULT 0.8,
  held_nanousd bigint NOT NULL DEFAULT 0,
  spent_nanousd bigint NOT NULL DEFAULT 0,
  calls bigint NOT NULL DEFAULT 0,
  window_start timestamptz NOT NULL DEFAULT now(),
  resets_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (tenant_id, subject, period)
)
"""

HOLDS = """
CREATE TABLE budget_holds (
  call_id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL,
  budget_ids uuid[] NOT NULL,
  amount_nanousd bigint NOT NULL,
  owner uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  facts jsonb NOT NULL
)
"""

PRICES = """
CREATE TABLE model_prices (
  tenant_id uuid NOT NULL,
  model text NOT NULL,
  version int NOT NULL,
  input_usd_per_million numeric NOT NULL CHECK (input_usd_per_million >= 0),
  output_usd_per_million numeric NOT NULL CHECK (output_usd_per_million >= 0),
  cached_input_usd_per_million numeric CHECK (cached_input_usd_per_million >= 0),
  cache_write_usd_per_million numeric CHECK (cache_write_usd_per_million >= 0),
  reasoning_usd_per_million numeric CHECK (reasoning_usd_per_million >= 0),
  max_input_tokens bigint,
  max_output_tokens bigint,
  set_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, model, version)
)
"""


def upgrade() -> None:
    for table in (CALLS, BUDGETS, HOLDS, PRICES):
        op.execute(table)
    op.execute("CREATE INDEX calls_by_time ON calls (tenant_id, settled_at)")
    for column in ("goal_id", "run_id"):
        op.execute(f"CREATE INDEX calls_by_{column} ON calls (tenant_id, {column}) WHERE {column} IS NOT NULL")
    op.execute("CREATE TABLE llm_processes (owner uuid PRIMARY KEY, seen_at timestamptz NOT NULL)")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON llm_processes TO cognitionos_dispatch")
    tenant_table("calls", grants="SELECT")
    tenant_table("budgets", grants="SELECT, INSERT, UPDATE")
    tenant_table("budget_holds", grants="SELECT")
    tenant_table("model_prices", grants="SELECT, INSERT")
    dispatch_policy("calls", grants="SELECT, INSERT")
    dispatch_policy("budgets", grants="SELECT, UPDATE")
    dispatch_policy("budget_holds", grants="SELECT, INSERT, DELETE")
    for name in FUNCTIONS:
        install_function(f"llm_gateway/infrastructure/{name}.sql")


def downgrade() -> None:
    for name in reversed(FUNCTIONS):
        drop_functions(f"llm_gateway/infrastructure/{name}.sql")
    for table in ("model_prices", "budget_holds", "budgets", "calls", "llm_processes"):
        op.execute(f"DROP TABLE {table}")
