"""Ledger: workflow, service tier, tokens of audio, images and long cache writes; prices with every rate

Revision ID: 0012
Revises: 0011
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# Null in rows of calls that had none of it, and of those written before.
COLUMNS = {
    "workflow": "text",
    "service_tier": "text",
    "cache_write_1h_tokens": "bigint",
    "audio_input_tokens": "bigint",
    "audio_output_tokens": "bigint",
    "image_input_tokens": "bigint",
    "image_output_tokens": "bigint",
}


def upgrade() -> None:
    op.execute("ALTER TABLE calls " + ", ".join(f"ADD COLUMN {name} {kind}" for name, kind in COLUMNS.items()))
    op.execute("ALTER TABLE model_prices ADD COLUMN detail jsonb NOT NULL DEFAULT '{}'")


def downgrade() -> None:
    op.execute("ALTER TABLE model_prices DROP COLUMN detail")
    op.execute("ALTER TABLE calls " + ", ".join(f"DROP COLUMN {name}" for name in COLUMNS))
