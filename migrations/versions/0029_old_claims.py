"""What no version calls any more: claims without shares, and what is below a task without skips

Revision ID: 0029
Revises: 0023
"""

from pathlib import Path

from cognitionos.platform.schema import drop_functions, install_function

revision = "0029"
down_revision = "0023"
branch_labels = None
depends_on = None

_MIGRATIONS = Path(__file__).resolve().parents[1]
_OLD = (str(_MIGRATIONS / "before_0018" / "claim_tasks.sql"), str(_MIGRATIONS / "before_0013" / "pure_waiting.sql"))


def upgrade() -> None:
    for path in _OLD:
        drop_functions(path)


def downgrade() -> None:
    for path in _OLD:
        install_function(path)
