"""Runs: pause, retry, fork, snapshots, replay

Revision ID: 0014
Revises: 0013
"""

from pathlib import Path

from alembic import op

from cognitionos.platform.schema import install_function, tenant_table

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# they know a run that is paused; what they read is there without this migration too
_FUNCTIONS = (
    str(Path(__file__).resolve().parents[1] / "before_0018" / "claim_tasks.sql"),
    "planning/infrastructure/hand_back_tasks.sql",
)

_SNAPSHOTS = """
CREATE TABLE run_snapshots (
  id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL,
  run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
  name text NOT NULL,
  seq bigint NOT NULL,
  status text NOT NULL,
  total_tasks int NOT NULL,
  open_tasks int NOT NULL,
  created_at timestamptz NOT NULL,
  UNIQUE (run_id, name)
)
"""


def upgrade() -> None:
    op.execute(
        "ALTER TABLE runs ADD COLUMN stops_now boolean NOT NULL DEFAULT false, "
        "ADD COLUMN forked_from uuid, ADD COLUMN forked_at text"
    )
    op.execute("ALTER TABLE tasks ADD COLUMN reused_from uuid")
    op.execute(_SNAPSHOTS)
    tenant_table("run_snapshots")
    # the journal of an attempt that a retry has set aside: `task_id` is then nobody's
    op.execute("ALTER TABLE agent_runs ADD COLUMN set_aside_from uuid, ADD COLUMN given jsonb")
    for path in _FUNCTIONS:
        install_function(path)


def downgrade() -> None:
    # nobody would give the held tasks back otherwise
    op.execute("SET ROLE cognitionos_dispatch; UPDATE tasks SET status = 'ready' WHERE status = 'paused'; RESET ROLE")
    op.execute("ALTER TABLE agent_runs DROP COLUMN set_aside_from, DROP COLUMN given")
    op.execute("DROP TABLE run_snapshots")
    op.execute("ALTER TABLE tasks DROP COLUMN reused_from")
    op.execute("ALTER TABLE runs DROP COLUMN stops_now, DROP COLUMN forked_from, DROP COLUMN forked_at")
