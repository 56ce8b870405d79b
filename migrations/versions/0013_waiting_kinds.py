"""Tasks that branch, fan out, and wait for people, signals and nested runs

Revision ID: 0013
Revises: 0012
"""

from alembic import op

from cognitionos.platform.schema import drop_functions, install_function, tenant_table

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_WAITING_BELOW = "planning/infrastructure/waiting_below.sql"

_APPROVALS = """
CREATE TABLE approvals (
  id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL,
  run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
  task_id uuid NOT NULL REFERENCES tasks ON DELETE CASCADE,
  task_key text NOT NULL,
  key text NOT NULL,
  prompt text NOT NULL,
  details jsonb,
  approvers text[] NOT NULL,
  default_decision text NOT NULL,
  status text NOT NULL,
  token_hash bytea,
  token_for text,
  created_at timestamptz NOT NULL,
  deadline_at timestamptz NOT NULL,
  decided_at timestamptz,
  decided_by text,
  comment text,
  UNIQUE (task_id, key)
)
"""
_SIGNALS = """
CREATE TABLE run_signals (
  id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL,
  run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
  name text NOT NULL,
  payload jsonb,
  sent_by text,
  sent_at timestamptz NOT NULL,
  task_id uuid
)
"""


def upgrade() -> None:
    op.execute(
        "ALTER TABLE tasks ADD COLUMN skipped_deps int NOT NULL DEFAULT 0, "
        "ADD COLUMN is_held boolean NOT NULL DEFAULT false"
    )
    op.execute("CREATE INDEX tasks_held ON tasks (run_id, position) WHERE is_held")
    op.execute("CREATE INDEX tasks_active ON tasks (run_id) WHERE status IN ('ready', 'running')")
    op.execute(
        "ALTER TABLE runs ADD COLUMN parent_run_id uuid, ADD COLUMN parent_task_id uuid, "
        "ADD COLUMN depth smallint NOT NULL DEFAULT 0"
    )
    op.execute("CREATE INDEX runs_nested ON runs (parent_run_id) WHERE parent_run_id IS NOT NULL")
    op.execute(_APPROVALS)
    op.execute("CREATE INDEX approvals_newest ON approvals (tenant_id, id DESC)")
    op.execute("CREATE INDEX approvals_of_run ON approvals (run_id)")
    op.execute(_SIGNALS)
    op.execute("CREATE INDEX run_signals_kept ON run_signals (run_id, name) WHERE task_id IS NULL")
    for table in ("approvals", "run_signals"):
        tenant_table(table)
    install_function(_WAITING_BELOW)


def downgrade() -> None:
    drop_functions(_WAITING_BELOW)
    op.execute("DROP TABLE run_signals")
    op.execute("DROP TABLE approvals")
    op.execute("ALTER TABLE runs DROP COLUMN parent_run_id, DROP COLUMN parent_task_id, DROP COLUMN depth")
    op.execute("ALTER TABLE tasks DROP COLUMN skipped_deps, DROP COLUMN is_held")
    op.execute("DROP INDEX IF EXISTS tasks_active")
