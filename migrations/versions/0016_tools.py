"""Tools: approvals, MCP servers, databases, packages

Revision ID: 0016
Revises: 0015
"""

from alembic import op

from cognitionos.platform.schema import tenant_table

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TOOL_RULES = """
CREATE TABLE tool_rules (
  tenant_id uuid NOT NULL,
  tool text NOT NULL,
  allowed boolean NOT NULL,
  roles text[] NOT NULL,
  approval text NOT NULL CHECK (approval IN ('never', 'always', 'when')),
  conditions jsonb NOT NULL,
  deadline_s double precision NOT NULL CHECK (deadline_s > 0),
  default_decision text NOT NULL CHECK (default_decision IN ('approve', 'reject', 'fail')),
  changed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, tool)
)
"""

# `tools` is what the server offered when it was asked last; `version` tells a connection that it is outdated
TOOL_SERVERS = """
CREATE TABLE tool_servers (
  tenant_id uuid NOT NULL,
  name text NOT NULL,
  transport text NOT NULL CHECK (transport IN ('stdio', 'http')),
  command text,
  args text[] NOT NULL,
  url text,
  sealed bytea,
  secret_names text[] NOT NULL,
  timeout_s double precision NOT NULL CHECK (timeout_s > 0),
  tools jsonb NOT NULL,
  refused jsonb NOT NULL,
  error text,
  asked_at timestamptz,
  version uuid NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, name)
)
"""

TOOL_DATABASES = """
CREATE TABLE tool_databases (
  tenant_id uuid NOT NULL,
  name text NOT NULL,
  description text NOT NULL,
  host text NOT NULL,
  database text NOT NULL,
  account text NOT NULL,
  sealed bytea NOT NULL,
  timeout_s double precision NOT NULL CHECK (timeout_s > 0),
  max_rows int NOT NULL CHECK (max_rows > 0),
  changed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, name)
)
"""

TOOL_PACKAGES = """
CREATE TABLE tool_packages (
  tenant_id uuid NOT NULL,
  name text NOT NULL,
  version text NOT NULL,
  file_name text NOT NULL,
  sha256 text NOT NULL,
  bytes bigint NOT NULL,
  content bytea NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, name)
)
"""

TABLES = {
    "tool_rules": TOOL_RULES,
    "tool_servers": TOOL_SERVERS,
    "tool_databases": TOOL_DATABASES,
    "tool_packages": TOOL_PACKAGES,
}


def upgrade() -> None:
    for name, table in TABLES.items():
        op.execute(table)
        tenant_table(name)


def downgrade() -> None:
    for name in reversed(TABLES):
        op.execute(f"DROP TABLE {name}")
