"""Webhooks; shares of the workers

Revision ID: 0018
Revises: 0017
"""

from alembic import op

from cognitionos.platform.schema import dispatch_policy, drop_functions, install_function, tenant_table

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

CLAIM = "planning/infrastructure/claim_fairly.sql"
FUNCTION = "planning/infrastructure/tell_webhooks.sql"

_WEBHOOKS = """
CREATE TABLE webhooks (
  id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL,
  url text NOT NULL,
  description text,
  events text[] NOT NULL,
  sealed bytea NOT NULL,
  sealed_before bytea,
  before_until timestamptz,
  failing_since timestamptz,
  disabled_at timestamptz,
  disabled_because text,
  created_at timestamptz NOT NULL DEFAULT now()
)
"""
_DELIVERIES = """
CREATE TABLE webhook_deliveries (
  id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL,
  webhook_id uuid NOT NULL REFERENCES webhooks ON DELETE CASCADE,
  event text NOT NULL,
  run_id uuid,
  body text NOT NULL,
  status text NOT NULL DEFAULT 'pending',
  attempts int NOT NULL DEFAULT 0,
  log jsonb NOT NULL DEFAULT '[]',
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  next_at timestamptz DEFAULT now(),
  delivered_at timestamptz
)
"""
_SHARES = """
CREATE TABLE task_shares (
  tenant_id uuid PRIMARY KEY,
  most_running int CHECK (most_running > 0),
  weight double precision NOT NULL DEFAULT 1 CHECK (weight BETWEEN 0.01 AND 100)
)
"""
_TRIGGER = """
CREATE TRIGGER tell_webhooks AFTER INSERT ON run_events REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION tell_webhooks()
"""


def upgrade() -> None:
    op.execute(_WEBHOOKS)
    op.execute("CREATE INDEX webhooks_of_tenant ON webhooks (tenant_id, id)")
    op.execute(_DELIVERIES)
    op.execute("CREATE INDEX webhook_deliveries_newest ON webhook_deliveries (webhook_id, created_at DESC, id DESC)")
    for table in ("webhooks", "webhook_deliveries"):
        tenant_table(table)
    install_function(FUNCTION)
    op.execute(_TRIGGER)
    op.execute(_SHARES)
    tenant_table("task_shares")
    dispatch_policy("task_shares", grants="SELECT")
    install_function(CLAIM)


def downgrade() -> None:
    drop_functions(CLAIM)
    op.execute("DROP TABLE task_shares")
    op.execute("DROP TRIGGER tell_webhooks ON run_events")
    drop_functions(FUNCTION)
    op.execute("DROP TABLE webhook_deliveries")
    op.execute("DROP TABLE webhooks")
