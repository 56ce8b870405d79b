"""Holds of a process that lives, whose calls are over, are closed too

Revision ID: 0033
Revises: 0029
"""

from pathlib import Path

from cognitionos.platform.schema import drop_functions, install_function

revision = "0033"
down_revision = "0029"
branch_labels = None
depends_on = None

SWEEP = "llm_gateway/infrastructure/sweep_holds.sql"
BEFORE = str(Path(__file__).resolve().parents[1] / "before_0033" / "sweep_holds.sql")
"""The function as it was, for the way back."""


def upgrade() -> None:
    drop_functions(SWEEP)
    install_function(SWEEP)


def downgrade() -> None:
    drop_functions(SWEEP)
    install_function(BEFORE)
