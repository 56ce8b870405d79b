"""Rules stored under a tool's name for models go by the tool's own name: under the other they went for no call

Revision ID: 0043
Revises: 0041
"""

from alembic import op

revision = "0043"
down_revision = "0041"
branch_labels = None
depends_on = None

# `shop__order` was `shop.order`; where the tool has a rule by its name already, that one is left to count
RENAME = """
UPDATE tool_rules r SET tool = named.tool
FROM (
  SELECT tenant_id, name || '.' || (offer ->> 'name') AS tool FROM tool_servers, jsonb_array_elements(tools) offer
  UNION ALL SELECT tenant_id, 'sql.' || name FROM tool_databases
) named
WHERE r.tenant_id = named.tenant_id
  AND r.tool = left(regexp_replace(replace(named.tool, '.', '__'), '[^A-Za-z0-9_-]', '_', 'g'), 64)
  AND NOT EXISTS (SELECT FROM tool_rules o WHERE o.tenant_id = r.tenant_id AND o.tool = named.tool)
"""


def upgrade() -> None:
    op.execute("ALTER TABLE tool_rules NO FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE tool_servers NO FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE tool_databases NO FORCE ROW LEVEL SECURITY")
    op.execute(RENAME)
    op.execute("ALTER TABLE tool_databases FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE tool_servers FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE tool_rules FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    pass
