"""Agent runs and their journal

Revision ID: 0005
Revises: 0004
"""

from alembic import op

from cognitionos.platform.schema import tenant_table

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = ("agent_runs", "agent_steps", "tool_effects", "workspace_files")


def upgrade() -> None:
    _agent_runs()
    _agent_steps()
    _tool_effects()
    _workspace_files()
    for table in TABLES:
        tenant_table(table)


def downgrade() -> None:
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")


def _agent_runs() -> None:
    # no foreign key to runs: they are planning's, one rung up
    op.execute(
        """
        CREATE TABLE agent_runs (
          id uuid PRIMARY KEY,
          tenant_id uuid NOT NULL,
          run_id uuid NOT NULL,
          task_id uuid NOT NULL,
          task_key text NOT NULL,
          role text NOT NULL,
          prompts jsonb NOT NULL,
          opening jsonb NOT NULL,
          status text NOT NULL,
          fence bigint NOT NULL,
          steps int NOT NULL DEFAULT 0,
          model text NOT NULL DEFAULT '',
          simulated boolean NOT NULL DEFAULT false,
          cost_nanousd bigint NOT NULL DEFAULT 0,
          prompt_tokens bigint NOT NULL DEFAULT 0,
          completion_tokens bigint NOT NULL DEFAULT 0,
          error text,
          started_at timestamptz NOT NULL,
          ended_at timestamptz,
          UNIQUE (run_id, task_id)
        ) WITH (fillfactor = 80)
        """
    )


def _agent_steps() -> None:
    op.execute(
        """
        CREATE TABLE agent_steps (
          agent_run_id uuid NOT NULL REFERENCES agent_runs ON DELETE CASCADE,
          key text NOT NULL,
          seq int NOT NULL,
          number bigint GENERATED ALWAYS AS IDENTITY,
          tenant_id uuid NOT NULL,
          run_id uuid NOT NULL,
          role text NOT NULL,
          kind text NOT NULL,
          content jsonb NOT NULL,
          model text NOT NULL,
          simulated boolean NOT NULL,
          cost_nanousd bigint NOT NULL,
          prompt_tokens bigint NOT NULL,
          completion_tokens bigint NOT NULL,
          started_at timestamptz NOT NULL,
          ended_at timestamptz NOT NULL,
          PRIMARY KEY (agent_run_id, key)
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX agent_steps_of_run ON agent_steps (run_id, number)")


def _tool_effects() -> None:
    op.execute(
        """
        CREATE TABLE tool_effects (
          tenant_id uuid NOT NULL,
          key text NOT NULL,
          run_id uuid NOT NULL,
          agent_run_id uuid NOT NULL REFERENCES agent_runs ON DELETE CASCADE,
          step_key text NOT NULL,
          tool text NOT NULL,
          effect text NOT NULL,
          arguments text NOT NULL,
          status text NOT NULL,
          started_at timestamptz NOT NULL,
          ended_at timestamptz,
          PRIMARY KEY (tenant_id, key)
        )
        """
    )
    op.execute("CREATE INDEX tool_effects_of_agent_run ON tool_effects (agent_run_id)")


def _workspace_files() -> None:
    op.execute(
        """
        CREATE TABLE workspace_files (
          tenant_id uuid NOT NULL,
          run_id uuid NOT NULL,
          name text NOT NULL,
          origin text NOT NULL CHECK (origin IN ('input', 'output')),
          media_type text NOT NULL,
          bytes bigint NOT NULL,
          sha256 text NOT NULL,
          content bytea NOT NULL,
          agent_run_id uuid REFERENCES agent_runs ON DELETE CASCADE,
          changed_at timestamptz NOT NULL DEFAULT now(),
          PRIMARY KEY (run_id, name)
        )
        """
    )
    op.execute("CREATE INDEX workspace_files_of_agent_run ON workspace_files (agent_run_id)")
