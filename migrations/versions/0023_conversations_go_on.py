"""Conversations: turns that wait for people, turns that are taken up by themselves, whose they are, search by text

Revision ID: 0023
Revises: 0021
"""

from alembic import op

from cognitionos.platform.schema import dispatch_policy, drop_functions, install_function

revision = "0023"
down_revision = "0021"
branch_labels = None
depends_on = None

_FUNCTIONS = ("agents/infrastructure/open_turns.sql", "agents/infrastructure/search_turns.sql")
_STATUS = """
ALTER TABLE conversation_turns DROP CONSTRAINT conversation_turns_status_check,
  ADD CONSTRAINT conversation_turns_status_check CHECK (status IN ({}))
"""
_STATUSES = "'running', 'succeeded', 'failed', 'cancelled'"
# what agents ask in a conversation belongs to its turn instead of a run's task
_ASKED_IN_TURNS = """
ALTER TABLE approvals ALTER COLUMN run_id DROP NOT NULL, ALTER COLUMN task_id DROP NOT NULL,
  ADD COLUMN conversation_id uuid REFERENCES conversations ON DELETE CASCADE, ADD COLUMN turn_id uuid,
  ADD CONSTRAINT approvals_of_turn UNIQUE (turn_id, key)
"""
# the tenant is a term too, so that the intersection happens inside the index
_WORDS = """
CREATE INDEX conversation_turns_words ON conversation_turns USING gin ((
  to_tsvector('simple', message || ' ' || coalesce(answer, '')) || array_to_tsvector(ARRAY['tenant:' || tenant_id])
))
"""


def upgrade() -> None:
    op.execute(_STATUS.format(f"{_STATUSES}, 'waiting'"))
    op.execute("ALTER TABLE conversation_turns ADD COLUMN broken_off int NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE conversations ADD COLUMN user_name text")
    op.execute(
        "CREATE INDEX conversation_turns_open ON conversation_turns (lease_until) "
        "WHERE status IN ('running', 'waiting')"
    )
    op.execute(_WORDS)
    op.execute(_ASKED_IN_TURNS)
    op.execute("CREATE INDEX approvals_of_conversation ON approvals (conversation_id)")
    dispatch_policy("conversation_turns", grants="SELECT")
    dispatch_policy("conversations", grants="SELECT")
    for path in _FUNCTIONS:
        install_function(path)


def downgrade() -> None:
    for path in _FUNCTIONS:
        drop_functions(path)
    for table in ("conversation_turns", "conversations"):
        op.execute(f"DROP POLICY dispatch ON {table}")
        op.execute(f"REVOKE ALL ON {table} FROM cognitionos_dispatch")
    op.execute("DELETE FROM approvals WHERE run_id IS NULL")
    op.execute(
        "ALTER TABLE approvals DROP COLUMN conversation_id, DROP COLUMN turn_id, "
        "ALTER COLUMN run_id SET NOT NULL, ALTER COLUMN task_id SET NOT NULL"
    )
    op.execute("DROP INDEX conversation_turns_words, conversation_turns_open")
    op.execute("ALTER TABLE conversations DROP COLUMN user_name")
    op.execute("ALTER TABLE conversation_turns DROP COLUMN broken_off")
    op.execute("UPDATE conversation_turns SET status = 'cancelled', ended_at = now() WHERE status = 'waiting'")
    op.execute(_STATUS.format(_STATUSES))
