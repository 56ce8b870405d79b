"""Workflows as data

Revision ID: 0008
Revises: 0007
"""

from alembic import op

from cognitionos.platform.schema import tenant_table

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_WORKFLOWS = """
CREATE TABLE workflows (
  id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL,
  name text NOT NULL,
  version int NOT NULL CHECK (version > 0),
  digest text NOT NULL,
  tasks jsonb NOT NULL,
  total_tasks int NOT NULL,
  created_at timestamptz NOT NULL,
  UNIQUE (tenant_id, name, version)
)
"""


def upgrade() -> None:
    op.execute(_WORKFLOWS)
    # a version never changes: runs name it
    tenant_table("workflows", grants="SELECT, INSERT")
    op.execute("ALTER TABLE runs ADD COLUMN workflow text, ADD COLUMN workflow_version int, ADD COLUMN input jsonb")


def downgrade() -> None:
    op.execute("ALTER TABLE runs DROP COLUMN workflow, DROP COLUMN workflow_version, DROP COLUMN input")
    op.execute("DROP TABLE workflows")
