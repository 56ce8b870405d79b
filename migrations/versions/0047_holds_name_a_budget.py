"""A hold that is granted names the tightest budget it counts against

Revision ID: 0047
Revises: 0045
"""

from pathlib import Path

from cognitionos.platform.schema import install_function

revision = "0047"
down_revision = "0045"
branch_labels = None
depends_on = None

HOLD = "llm_gateway/infrastructure/hold.sql"
BEFORE = str(Path(__file__).resolve().parents[1] / "before_0047" / "hold.sql")
"""The functions as they were, for the way back."""


def upgrade() -> None:
    install_function(HOLD)


def downgrade() -> None:
    install_function(BEFORE)
