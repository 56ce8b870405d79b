"""Ledger: web searches that a provider made, tokens of audio that were read from a cache

Revision ID: 0021
Revises: 0025
"""

from alembic import op

revision = "0021"
down_revision = "0025"
branch_labels = None
depends_on = None

# Null in rows of calls that had none of it, and of those written before.
COLUMNS = {"cached_audio_tokens": "bigint", "searches": "bigint"}


def upgrade() -> None:
    op.execute("ALTER TABLE calls " + ", ".join(f"ADD COLUMN {name} {kind}" for name, kind in COLUMNS.items()))


def downgrade() -> None:
    op.execute("ALTER TABLE calls " + ", ".join(f"DROP COLUMN {name}" for name in COLUMNS))
