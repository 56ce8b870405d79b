"""Schedules and their leader

Revision ID: 0015
Revises: 0014
"""

from alembic import op

from cognitionos.platform.schema import dispatch_policy, drop_functions, install_function, tenant_table

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

FUNCTIONS = "planning/infrastructure/lead_schedules.sql"

_LEADERS = """
CREATE TABLE leaders (
  duty text PRIMARY KEY,
  holder text NOT NULL,
  fence bigint NOT NULL,
  lease_until timestamptz NOT NULL
)
"""
_SCHEDULES = """
CREATE TABLE schedules (
  id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL,
  project_id uuid NOT NULL,
  api_key_id uuid,
  user_name text,
  name text NOT NULL,
  cron text,
  every_s double precision,
  time_zone text NOT NULL,
  target jsonb NOT NULL,
  catch_up text NOT NULL,
  most_caught_up int NOT NULL,
  overlap text NOT NULL,
  paused boolean NOT NULL,
  anchor timestamptz NOT NULL,
  created_at timestamptz NOT NULL,
  next_at timestamptz,
  last_run_id uuid,
  queued_for timestamptz,
  UNIQUE (tenant_id, name)
)
"""
_FIRES = """
CREATE TABLE schedule_fires (
  id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL,
  schedule_id uuid NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
  scheduled_at timestamptz NOT NULL,
  fired_at timestamptz NOT NULL,
  outcome text NOT NULL,
  run_id uuid,
  missed int NOT NULL,
  detail text,
  by_hand boolean NOT NULL
)
"""


def upgrade() -> None:
    op.execute(_LEADERS)
    op.execute("GRANT SELECT, INSERT, UPDATE ON leaders TO cognitionos_dispatch")
    op.execute(_SCHEDULES)
    op.execute("CREATE INDEX schedules_next ON schedules (next_at) WHERE next_at IS NOT NULL")
    op.execute("CREATE INDEX schedules_queued ON schedules (queued_for) WHERE queued_for IS NOT NULL")
    tenant_table("schedules")
    dispatch_policy("schedules", grants="SELECT")
    op.execute(_FIRES)
    # exactly once: a time that the clock brought fires no second time, whoever thinks to be the leader
    op.execute(
        "CREATE UNIQUE INDEX schedule_fires_once ON schedule_fires (schedule_id, scheduled_at) WHERE NOT by_hand"
    )
    op.execute("CREATE INDEX schedule_fires_list ON schedule_fires (schedule_id, id DESC)")
    tenant_table("schedule_fires")
    install_function(FUNCTIONS)


def downgrade() -> None:
    drop_functions(FUNCTIONS)
    op.execute("DROP TABLE schedule_fires")
    op.execute("DROP TABLE schedules")
    op.execute("DROP TABLE leaders")
