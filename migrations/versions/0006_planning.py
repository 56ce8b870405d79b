"""Goals, runs, tasks, events

Revision ID: 0006
Revises: 0005
"""

from pathlib import Path

from alembic import op

from cognitionos.platform.schema import dispatch_policy, drop_functions, install_function, tenant_table

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_MIGRATIONS = Path(__file__).resolve().parents[1]
_FUNCTIONS = (
    str(_MIGRATIONS / "before_0018" / "claim_tasks.sql"),
    "planning/infrastructure/renew_leases.sql",
    "planning/infrastructure/hand_back_tasks.sql",
    str(_MIGRATIONS / "before_0013" / "pure_waiting.sql"),
    "planning/infrastructure/run_heads.sql",
)


def upgrade() -> None:
    _goals()
    _runs()
    _tasks()
    _run_events()
    for table in ("goals", "runs", "payloads", "tasks", "run_events"):
        tenant_table(table)
    dispatch_policy("runs", grants="SELECT")
    dispatch_policy("tasks", grants="SELECT, UPDATE")
    for path in _FUNCTIONS:
        install_function(path)


def downgrade() -> None:
    for path in reversed(_FUNCTIONS):
        drop_functions(path)
    for table in ("run_events", "tasks", "payloads", "runs", "goals"):
        op.execute(f"DROP TABLE {table}")


def _goals() -> None:
    op.execute(
        """
        CREATE TABLE goals (
          id uuid PRIMARY KEY,
          tenant_id uuid NOT NULL,
          project_id uuid NOT NULL,
          api_key_id uuid,
          user_name text,
          title text NOT NULL,
          statement text NOT NULL,
          budget_nanousd bigint NOT NULL CHECK (budget_nanousd > 0),
          run_id uuid NOT NULL,
          status text NOT NULL,
          result_text text,
          error jsonb,
          created_at timestamptz NOT NULL,
          finished_at timestamptz
        )
        """
    )
    op.execute("CREATE INDEX goals_newest ON goals (tenant_id, id DESC)")


def _runs() -> None:
    op.execute(
        """
        CREATE TABLE runs (
          id uuid PRIMARY KEY,
          tenant_id uuid NOT NULL,
          project_id uuid NOT NULL,
          goal_id uuid REFERENCES goals ON DELETE CASCADE,
          api_key_id uuid,
          user_name text,
          status text NOT NULL,
          total_tasks int NOT NULL,
          open_tasks int NOT NULL CHECK (open_tasks >= 0),
          last_seq bigint NOT NULL,
          result_task_id uuid,
          result_text text,
          error jsonb,
          created_at timestamptz NOT NULL,
          started_at timestamptz,
          finished_at timestamptz
        )
        """
    )
    op.execute("CREATE INDEX runs_newest ON runs (tenant_id, id DESC)")
    op.execute("CREATE INDEX runs_of_goal ON runs (goal_id)")


def _tasks() -> None:
    op.execute(
        """
        CREATE TABLE payloads (
          id uuid PRIMARY KEY,
          tenant_id uuid NOT NULL,
          run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
          body jsonb NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX payloads_of_run ON payloads (run_id)")
    op.execute(
        """
        CREATE TABLE tasks (
          id uuid PRIMARY KEY,
          tenant_id uuid NOT NULL,
          run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
          position int NOT NULL,
          key text NOT NULL,
          kind text NOT NULL,
          is_pure boolean NOT NULL,
          priority smallint NOT NULL DEFAULT 0,
          status text NOT NULL,
          spec jsonb NOT NULL,
          retry jsonb,
          timeout_s double precision NOT NULL,
          dependencies uuid[] NOT NULL,
          dependents uuid[] NOT NULL,
          pending_deps int NOT NULL CHECK (pending_deps >= 0),
          ready_at timestamptz,
          attempt int NOT NULL DEFAULT 0,
          failures int NOT NULL DEFAULT 0,
          fence bigint NOT NULL DEFAULT 0,
          lease_owner text,
          lease_until timestamptz,
          output jsonb,
          output_payload uuid,
          details jsonb,
          error jsonb,
          created_at timestamptz NOT NULL DEFAULT now(),
          started_at timestamptz,
          finished_at timestamptz,
          UNIQUE (run_id, position),
          UNIQUE (run_id, key)
        ) WITH (fillfactor = 80)
        """
    )
    op.execute("CREATE INDEX tasks_ready ON tasks (tenant_id, is_pure, priority DESC, ready_at) WHERE status = 'ready'")
    op.execute("CREATE INDEX tasks_running ON tasks (tenant_id) WHERE status = 'running'")
    op.execute("CREATE INDEX tasks_lease ON tasks (lease_until) WHERE status = 'running'")
    op.execute("CREATE INDEX tasks_owner ON tasks (lease_owner) WHERE status = 'running'")


def _run_events() -> None:
    # no foreign key: rows are appended on the hot path, under the lock of a run that is known to be there
    op.execute(
        """
        CREATE TABLE run_events (
          run_id uuid NOT NULL,
          seq bigint NOT NULL,
          tenant_id uuid NOT NULL,
          at timestamptz NOT NULL DEFAULT now(),
          kind text NOT NULL,
          task_key text,
          data jsonb NOT NULL,
          PRIMARY KEY (run_id, seq)
        )
        """
    )
