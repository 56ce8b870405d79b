"""Circuits' history is read by tenants: their own deployments' and the installation's

Revision ID: 0048
Revises: 0047
"""

from alembic import op

from cognitionos.platform.schema import drop_functions, install_function

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None

FUNCTION = "llm_gateway/infrastructure/circuit_changes.sql"
OWNER = "CASE WHEN deployment LIKE 'tenant:%' THEN split_part(deployment, '/', 1) ELSE '' END"


def upgrade() -> None:
    owner = OWNER.replace(":", "\\:")
    op.execute(f"ALTER TABLE circuit_changes ADD COLUMN owner text GENERATED ALWAYS AS ({owner}) STORED")
    op.execute("DROP INDEX circuit_changes_latest")
    op.execute("CREATE INDEX circuit_changes_of ON circuit_changes (owner, id DESC)")
    op.execute("GRANT SELECT ON circuit_changes TO cognitionos_dispatch")
    install_function(FUNCTION)


def downgrade() -> None:
    drop_functions(FUNCTION)
    op.execute("REVOKE SELECT ON circuit_changes FROM cognitionos_dispatch")
    op.execute("DROP INDEX circuit_changes_of")
    op.execute("CREATE INDEX circuit_changes_latest ON circuit_changes (deployment, at DESC)")
    op.execute("ALTER TABLE circuit_changes DROP COLUMN owner")
