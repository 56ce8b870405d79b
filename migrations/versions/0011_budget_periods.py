"""Budgets: periods in the tenant's time zone, shares, cheaper models, alerts; calls name the budgets they count on

Revision ID: 0011
Revises: 0010
"""

from pathlib import Path

from alembic import op

from cognitionos.platform.schema import dispatch_policy, drop_functions, install_function, tenant_table

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

FUNCTIONS = ("hold", "settle", "sweep_holds")
BEFORE = Path(__file__).resolve().parents[1] / "before_0011"
"""The functions as they were, for the way back."""

# By type changes, because forced row security hides every row from an UPDATE of the owner.
BUDGETS = """
ALTER TABLE budgets
  ALTER COLUMN time_zone DROP NOT NULL,
  ALTER COLUMN time_zone DROP DEFAULT,
  ALTER COLUMN time_zone TYPE text USING nullif(time_zone, 'UTC'),
  ALTER COLUMN soft DROP NOT NULL,
  ALTER COLUMN soft DROP DEFAULT,
  ALTER COLUMN soft TYPE numeric USING CASE WHEN subject LIKE 'agent_run:%' THEN NULL ELSE soft END,
  ADD COLUMN halt numeric,
  ADD COLUMN downgrade_to text,
  ADD COLUMN carried_nanousd bigint NOT NULL DEFAULT 0,
  ADD COLUMN carried_calls bigint NOT NULL DEFAULT 0,
  ADD CHECK (soft > 0 AND soft <= 1),
  ADD CHECK (halt > 0 AND halt <= 1)
"""
# Calls settled before now do not say on which budgets they were booked: their sum is carried to the period's end.
SHARES = """
ALTER TABLE budgets
  ALTER COLUMN carried_nanousd TYPE bigint USING spent_nanousd,
  ALTER COLUMN carried_calls TYPE bigint USING calls,
  ADD COLUMN soft_nanousd bigint GENERATED ALWAYS AS (ceil(limit_nanousd * soft)) STORED,
  ADD COLUMN halt_nanousd bigint GENERATED ALWAYS AS (ceil(limit_nanousd * halt)) STORED
"""

SETTINGS = """
CREATE TABLE budget_settings (
  tenant_id uuid PRIMARY KEY,
  time_zone text NOT NULL DEFAULT 'UTC',
  downgrade_to text,
  changed_at timestamptz NOT NULL DEFAULT now()
)
"""

ALERTS = """
CREATE TABLE budget_alerts (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id uuid NOT NULL,
  budget_id uuid NOT NULL,
  subject text NOT NULL,
  period text NOT NULL,
  threshold text NOT NULL CHECK (threshold IN ('soft', 'halt', 'exhausted')),
  share numeric NOT NULL,
  window_start timestamptz NOT NULL,
  resets_at timestamptz,
  limit_nanousd bigint NOT NULL,
  spent_nanousd bigint NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  told_at timestamptz,
  acknowledged_at timestamptz,
  acknowledged_by text,
  note text,
  UNIQUE (budget_id, window_start, threshold, limit_nanousd)
)
"""


def upgrade() -> None:
    op.execute(BUDGETS)
    op.execute(SHARES)
    op.execute("GRANT DELETE ON budgets TO cognitionos_app")
    op.execute("ALTER TABLE budget_holds ADD COLUMN sent boolean NOT NULL DEFAULT true")
    op.execute("GRANT UPDATE ON budget_holds TO cognitionos_dispatch")
    op.execute("ALTER TABLE calls ADD COLUMN held_at timestamptz, ADD COLUMN budget_ids uuid[]")
    op.execute("ALTER TABLE runs ADD COLUMN critical boolean NOT NULL DEFAULT false")
    op.execute(SETTINGS)
    tenant_table("budget_settings", grants="SELECT, INSERT, UPDATE")
    dispatch_policy("budget_settings", grants="SELECT")
    op.execute(ALERTS)
    op.execute("CREATE INDEX budget_alerts_latest ON budget_alerts (tenant_id, at DESC, id DESC)")
    op.execute("CREATE INDEX budget_alerts_untold ON budget_alerts (at) WHERE told_at IS NULL")
    tenant_table("budget_alerts", grants="SELECT, INSERT, UPDATE")
    dispatch_policy("budget_alerts", grants="SELECT, INSERT")
    for name in FUNCTIONS:
        drop_functions(f"llm_gateway/infrastructure/{name}.sql")
    for name in (*FUNCTIONS, "alerts"):
        install_function(f"llm_gateway/infrastructure/{name}.sql")


def downgrade() -> None:
    for name in (*FUNCTIONS, "alerts"):
        drop_functions(f"llm_gateway/infrastructure/{name}.sql")
    op.execute("DROP TABLE budget_alerts, budget_settings")
    op.execute("ALTER TABLE runs DROP COLUMN critical")
    op.execute("ALTER TABLE calls DROP COLUMN held_at, DROP COLUMN budget_ids")
    op.execute("REVOKE UPDATE ON budget_holds FROM cognitionos_dispatch")
    op.execute("ALTER TABLE budget_holds DROP COLUMN sent")
    op.execute("REVOKE DELETE ON budgets FROM cognitionos_app")
    op.execute(
        "ALTER TABLE budgets DROP COLUMN soft_nanousd, DROP COLUMN halt_nanousd,"
        " DROP COLUMN carried_nanousd, DROP COLUMN carried_calls"
    )
    op.execute(
        "ALTER TABLE budgets DROP COLUMN halt, DROP COLUMN downgrade_to,"
        " DROP CONSTRAINT IF EXISTS budgets_soft_check,"
        " ALTER COLUMN soft TYPE numeric USING coalesce(soft, 0.8), ALTER COLUMN soft SET DEFAULT 0.8,"
        " ALTER COLUMN soft SET NOT NULL,"
        " ALTER COLUMN time_zone TYPE text USING coalesce(time_zone, 'UTC'),"
        " ALTER COLUMN time_zone SET DEFAULT 'UTC', ALTER COLUMN time_zone SET NOT NULL"
    )
    for name in FUNCTIONS:
        install_function(str(BEFORE / f"{name}.sql"))
