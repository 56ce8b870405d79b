"""A tenant's runs take turns

Revision ID: 0041
Revises: 0030
"""

from pathlib import Path

from alembic import op

from cognitionos.platform.schema import drop_functions, install_function

revision = "0041"
down_revision = "0030"
branch_labels = None
depends_on = None

CLAIM = "planning/infrastructure/claim_fairly.sql"
TURN = "planning/infrastructure/in_turn.sql"
BEFORE = str(Path(__file__).resolve().parents[1] / "before_0041" / "claim_fairly.sql")
"""The function as it was, for the way back."""


def upgrade() -> None:
    op.execute(
        "CREATE INDEX tasks_waiting ON tasks (tenant_id, run_id, priority DESC, ready_at) "
        "WHERE status = 'ready' AND NOT is_pure"
    )
    install_function(TURN)
    drop_functions(CLAIM)
    install_function(CLAIM)


def downgrade() -> None:
    drop_functions(CLAIM)
    install_function(BEFORE)
    drop_functions(TURN)
    op.execute("DROP INDEX IF EXISTS tasks_waiting")
