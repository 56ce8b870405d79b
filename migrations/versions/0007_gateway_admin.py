"""Circuits' history

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

CIRCUIT_CHANGES = """
CREATE TABLE circuit_changes (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  deployment text NOT NULL,
  state_before text NOT NULL,
  state_after text NOT NULL,
  failures int NOT NULL
)
"""


def upgrade() -> None:
    op.execute(CIRCUIT_CHANGES)
    op.execute("CREATE INDEX circuit_changes_latest ON circuit_changes (deployment, at DESC)")
    # written by every process and read by the operator: the app role cannot see in it what other tenants' do
    op.execute("GRANT INSERT ON circuit_changes TO cognitionos_app")


def downgrade() -> None:
    op.execute("DROP TABLE circuit_changes")
