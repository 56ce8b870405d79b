"""Rules of an older version, stored under names that only models know, go for the tools that were meant."""

import psycopg
from tests.servers import TestServers, create_database, drop_database

from cognitionos.kernel.ids import new_id
from cognitionos.platform import migrations

RULE = """
INSERT INTO tool_rules (tenant_id, tool, allowed, roles, approval, conditions, deadline_s, default_decision)
VALUES (%s, %s, true, '{}', %s, '[]', 60, 'reject')
"""
SERVER = """
INSERT INTO tool_servers (tenant_id, name, transport, args, secret_names, timeout_s, tools, refused, version)
VALUES (%s, 'shop', 'stdio', '{}', '{}', 5, '[{"name": "order"}, {"name": "a/b"}, {"name": "list"}]', '{}', %s)
"""
DATABASE = """
INSERT INTO tool_databases (tenant_id, name, description, host, database, account, sealed, timeout_s, max_rows)
VALUES (%s, 'books', '', 'h', 'd', 'a', '', 5, 5)
"""


def test_rules_under_names_for_models_are_renamed_once_and_the_tables_stay_guarded(servers: TestServers) -> None:
    mine, other = new_id(), new_id()
    fresh = create_database(servers)
    try:
        migrations.upgrade(fresh.owner_url, "0041")
        with psycopg.connect(fresh.admin_url) as admin:
            admin.execute(SERVER, (mine, new_id()))
            admin.execute(DATABASE, (mine,))
            for tool in ("shop__order", "shop__a_b", "shop__list", "shop.list", "sql__books", "python", "gone__x"):
                admin.execute(RULE, (mine, tool, "never" if tool == "shop.list" else "always"))
            admin.execute(RULE, (other, "shop__order", "always"))

        migrations.upgrade(fresh.owner_url)

        with psycopg.connect(fresh.admin_url) as admin:
            rules = set(admin.execute("SELECT tenant_id, tool, approval FROM tool_rules").fetchall())
        with psycopg.connect(fresh.owner_url) as owner:
            seen = owner.execute("SELECT count(*) FROM tool_rules").fetchone()
    finally:
        drop_database(servers, fresh)

    tools = ("shop.order", "shop.a/b", "shop__list", "sql.books", "python", "gone__x")
    assert rules == {
        *((mine, tool, "always") for tool in tools),
        (mine, "shop.list", "never"),
        (other, "shop__order", "always"),
    }
    assert seen == (0,)
