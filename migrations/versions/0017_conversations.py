"""Agent definitions, prompt overrides, conversations

Revision ID: 0017
Revises: 0016
"""

from alembic import op

from cognitionos.platform.schema import tenant_table

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# a version is never changed: runs that began with it go on with it
AGENT_DEFINITIONS = """
CREATE TABLE agent_definitions (
  tenant_id uuid NOT NULL,
  name text NOT NULL,
  version int NOT NULL CHECK (version > 0),
  content jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  retired_at timestamptz,
  PRIMARY KEY (tenant_id, name, version)
)
"""
PROMPT_VERSIONS = """
CREATE TABLE prompt_versions (
  tenant_id uuid NOT NULL,
  name text NOT NULL,
  version int NOT NULL CHECK (version > 0),
  text text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, name, version)
)
"""
PROMPT_PINS = """
CREATE TABLE prompt_pins (
  tenant_id uuid NOT NULL,
  name text NOT NULL,
  version text NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, name)
)
"""
CONVERSATIONS = """
CREATE TABLE conversations (
  id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL,
  project_id uuid NOT NULL,
  agent text NOT NULL,
  title text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
)
"""
# `fence` is raised by whoever takes a turn up; `lease_until` says how long the taker is believed to be alive
CONVERSATION_TURNS = """
CREATE TABLE conversation_turns (
  conversation_id uuid NOT NULL REFERENCES conversations ON DELETE CASCADE,
  number int NOT NULL,
  id uuid NOT NULL UNIQUE,
  tenant_id uuid NOT NULL,
  api_key_id uuid,
  user_name text,
  message text NOT NULL,
  status text NOT NULL CHECK (status IN ('running', 'succeeded', 'failed', 'cancelled')),
  fence bigint NOT NULL DEFAULT 1,
  lease_until timestamptz NOT NULL,
  answer text,
  error jsonb,
  outcome jsonb,
  started_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz,
  PRIMARY KEY (conversation_id, number)
)
"""
TABLES = {
    "agent_definitions": AGENT_DEFINITIONS,
    "prompt_versions": PROMPT_VERSIONS,
    "prompt_pins": PROMPT_PINS,
    "conversations": CONVERSATIONS,
    "conversation_turns": CONVERSATION_TURNS,
}


def upgrade() -> None:
    for name, table in TABLES.items():
        op.execute(table)
        tenant_table(name)
    op.execute("CREATE INDEX conversations_by_age ON conversations (tenant_id, created_at DESC, id DESC)")
    op.execute("ALTER TABLE agent_runs ADD COLUMN definitions jsonb NOT NULL DEFAULT '{}'")


def downgrade() -> None:
    op.execute("ALTER TABLE agent_runs DROP COLUMN definitions")
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE {name}")
