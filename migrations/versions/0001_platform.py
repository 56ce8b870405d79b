"""Outbox and idempotency keys

Revision ID: 0001
Revises:
"""

from alembic import op

from cognitionos.platform.schema import dispatch_policy, drop_functions, install_function, tenant_table

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("GRANT SELECT ON alembic_version TO cognitionos_app")
    op.execute(
        """
        CREATE TABLE outbox (
          id uuid PRIMARY KEY,
          tenant_id uuid NOT NULL,
          event_type text NOT NULL,
          subscriber text NOT NULL,
          payload jsonb NOT NULL,
          traceparent text,
          created_at timestamptz NOT NULL DEFAULT now(),
          due_at timestamptz NOT NULL DEFAULT now() + interval '5 seconds',
          attempts int NOT NULL DEFAULT 0,
          error text,
          dead_at timestamptz
        )
        """
    )
    op.execute("CREATE INDEX outbox_due ON outbox (due_at) WHERE dead_at IS NULL")
    tenant_table("outbox")
    dispatch_policy("outbox", grants="SELECT, UPDATE")
    install_function("platform/due_deliveries.sql")
    op.execute(
        """
        CREATE TABLE idempotency_keys (
          tenant_id uuid NOT NULL,
          route text NOT NULL,
          key text NOT NULL,
          body_hash bytea NOT NULL,
          status int,
          headers jsonb,
          body bytea,
          created_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (tenant_id, route, key)
        )
        """
    )
    op.execute("CREATE INDEX idempotency_keys_age ON idempotency_keys (tenant_id, created_at)")
    tenant_table("idempotency_keys")


def downgrade() -> None:
    op.execute("DROP TABLE idempotency_keys")
    drop_functions("platform/due_deliveries.sql")
    op.execute("DROP TABLE outbox")
