"""The database keeps tenants apart by itself. Every table that exists is looked at, so a new one is covered."""

import re
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from tests.servers import TestDatabase, TestServers, create_database, drop_database

import cognitionos
from cognitionos.kernel.ids import new_id
from cognitionos.platform import migrations
from cognitionos.platform.schema import functions_in

PACKAGE = Path(cognitionos.__file__).parent
# the only ones without a tenant; adding one is a decision
SHARED_TABLES = {"alembic_version", "circuit_changes", "leaders", "llm_processes"}
TENANT_POLICY = "(tenant_id = (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid)"
# The tables whose rows the dispatch role's functions see of every tenant, and what it may do there.
DISPATCHED = {
    "api_keys": {"SELECT"},
    "budget_alerts": {"SELECT", "INSERT"},
    "budget_holds": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "budget_settings": {"SELECT"},
    "budgets": {"SELECT", "UPDATE"},
    "cache_voids": {"SELECT", "DELETE"},
    "cached_answers": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "calls": {"SELECT", "INSERT"},
    "conversation_turns": {"SELECT"},
    "conversations": {"SELECT"},
    "memories": {"SELECT", "UPDATE"},
    "outbox": {"SELECT", "UPDATE"},
    "projects": {"SELECT"},
    "runs": {"SELECT"},
    "schedules": {"SELECT"},
    "semantic_answers": {"SELECT", "DELETE"},
    "semantic_reuses": {"SELECT", "DELETE"},
    "task_shares": {"SELECT"},
    "tasks": {"SELECT", "UPDATE"},
    "tenants": {"SELECT"},
}


@pytest.fixture(scope="module")
def admin(database: TestDatabase):
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        yield connection


def tables(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return [row[0] for row in rows]


def test_every_table_names_its_tenant_or_is_known_to_be_shared(admin: psycopg.Connection) -> None:
    named = admin.execute(
        "SELECT table_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND column_name = 'tenant_id' AND data_type = 'uuid'"
    )

    assert set(tables(admin)) - {row[0] for row in named} == SHARED_TABLES


def test_every_tenant_table_has_forced_row_security_with_the_one_policy(admin: psycopg.Connection) -> None:
    secured = admin.execute(
        "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE n.nspname = 'public' AND relkind IN ('r', 'p') AND relrowsecurity AND relforcerowsecurity"
    )
    policies = admin.execute(
        "SELECT tablename, qual, with_check FROM pg_policies WHERE schemaname = 'public' AND policyname = 'tenant'"
    ).fetchall()

    assert {row[0] for row in secured} == set(tables(admin)) - SHARED_TABLES
    assert {row[0] for row in policies} == set(tables(admin)) - SHARED_TABLES
    assert {(qual, check) for _, qual, check in policies} == {(TENANT_POLICY, None)}


def test_no_view_goes_around_the_policies(admin: psycopg.Connection) -> None:
    views = admin.execute(
        "SELECT relname, coalesce(reloptions::text, '') FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE n.nspname = 'public' AND relkind IN ('v', 'm')"
    ).fetchall()

    assert [name for name, options in views if "security_invoker=true" not in options] == []


def test_the_app_role_owns_nothing_and_bypasses_nothing(admin: psycopg.Connection) -> None:
    roles = {
        row[0]: row[1:]
        for row in admin.execute(
            "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname LIKE 'cognitionos%'"
        )
    }
    owned = admin.execute(
        "SELECT count(*) FROM pg_class WHERE relowner = 'cognitionos_app'::regrole"
        " OR (relkind = 'r' AND relowner = 'cognitionos_dispatch'::regrole)"
    ).fetchone()
    memberships = admin.execute("SELECT count(*) FROM pg_auth_members WHERE member = 'cognitionos_app'::regrole")

    assert set(roles.values()) == {(False, False, False)}
    assert owned == (0,)
    assert memberships.fetchone() == (0,)


def test_the_dispatch_role_sees_just_these_tables_of_every_tenant(admin: psycopg.Connection) -> None:
    policies = admin.execute(
        "SELECT tablename, cmd FROM pg_policies WHERE schemaname = 'public' AND 'cognitionos_dispatch' = ANY (roles)"
    )
    granted: dict[str, set[str]] = {}
    for table, privilege in admin.execute(
        "SELECT table_name, privilege_type FROM information_schema.role_table_grants"
        " WHERE grantee = 'cognitionos_dispatch' AND table_schema = 'public'"
    ):
        if table not in SHARED_TABLES:
            granted.setdefault(table, set()).add(privilege)

    assert {row[0] for row in policies} == set(granted)
    assert granted == DISPATCHED


def test_a_function_that_looks_across_tenants_is_fixed_to_one_schema_and_known_to_the_app_only(
    admin: psycopg.Connection,
) -> None:
    rows = admin.execute(
        "SELECT proname, pg_get_userbyid(proowner), coalesce(proconfig::text, ''),"
        " has_function_privilege('public', p.oid, 'EXECUTE') FROM pg_proc p"
        " JOIN pg_namespace n ON n.oid = pronamespace WHERE n.nspname = 'public' AND prosecdef"
    ).fetchall()

    assert rows
    for name, owner, config, is_public in rows:
        assert (owner, is_public) == ("cognitionos_dispatch", False), name
        assert "search_path=public, pg_temp" in config, name


def test_the_functions_in_the_database_are_those_in_the_sql_files(admin: psycopg.Connection) -> None:
    written = {}
    for path in PACKAGE.rglob("*.sql"):
        text = path.read_text(encoding="utf-8")
        bodies = re.findall(r"\$\$(.*?)\$\$", text, re.DOTALL)
        written |= dict(zip(functions_in(text), bodies, strict=False))
    installed = dict(
        admin.execute(
            "SELECT proname, prosrc FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace"
            " WHERE n.nspname = 'public' AND NOT EXISTS"
            " (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"
        ).fetchall()
    )

    assert installed == written


def test_without_a_tenant_or_with_another_one_no_row_of_any_table_shows(
    database: TestDatabase, admin: psycopg.Connection
) -> None:
    owner = new_id()
    filled = _fill(admin, owner)
    readable = "SELECT table_name FROM information_schema.table_privileges WHERE grantee = 'cognitionos_app'"
    names = {row[0] for row in admin.execute(readable + " AND privilege_type = 'SELECT'")} - SHARED_TABLES

    with psycopg.connect(database.app_url, autocommit=True) as app:
        for tenant, expected in ((None, 0), ("", 0), (str(new_id()), 0), (str(owner), 1)):
            with app.transaction():
                if tenant is not None:
                    app.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant,))
                for table in sorted(names & filled):
                    shown = app.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
                    assert shown == (expected,), (table, tenant)


def test_a_row_for_another_tenant_cannot_be_written(database: TestDatabase) -> None:
    with psycopg.connect(database.app_url) as app:
        app.execute("SELECT set_config('app.tenant_id', %s, true)", (str(new_id()),))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("INSERT INTO tenants (tenant_id, name, created_at) VALUES (%s, 'x', now())", (new_id(),))


def test_migrations_go_up_down_and_up_again_from_an_empty_database(servers: TestServers) -> None:
    fresh = create_database(servers)
    try:
        migrations.upgrade(fresh.owner_url)
        first = _shape(fresh)
        migrations.downgrade(fresh.owner_url, "base")
        left = _shape(fresh)
        migrations.upgrade(fresh.owner_url)

        assert _shape(fresh) == first
        assert {line for line in left if "alembic_version" not in line} == set()
    finally:
        drop_database(servers, fresh)


def _fill(admin: psycopg.Connection, tenant: UUID) -> set[str]:
    """Put one row of `tenant` into every table, with whatever values its columns take; gives the tables filled."""
    with admin.transaction():
        admin.execute("SET LOCAL session_replication_role = replica")  # no foreign keys, no triggers
        for table in set(tables(admin)) - SHARED_TABLES:
            admin.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
            columns = admin.execute(
                "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a"
                " WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped"
                " AND a.attgenerated = '' AND a.attidentity = '' AND (a.attnotnull OR a.attname = 'tenant_id')",
                (table,),
            ).fetchall()
            _insert_any(admin, table, dict(columns), tenant)
    return set(tables(admin)) - SHARED_TABLES


def _insert_any(admin: psycopg.Connection, table: str, columns: dict[str, str], tenant: UUID) -> None:
    checks = admin.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c'", (table,)
    ).fetchall()
    values = [_some_value(name, kind, " ".join(row[0] for row in checks), tenant) for name, kind in columns.items()]
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(
            sql.SQL("{}::" + kind).format(value) for value, kind in zip(values, columns.values(), strict=True)
        ),
    )
    admin.execute(statement)


def _some_value(name: str, kind: str, checks: str, tenant: UUID) -> sql.Literal:
    if name == "tenant_id":
        return sql.Literal(str(tenant))
    allowed = re.search(rf"\(?\(?{name}\)?(?:::text)? = ANY \(\(?ARRAY\['([^']*)'", checks)
    if allowed:
        return sql.Literal(allowed.group(1))
    size = re.match(r"(?:halfvec|vector)\((\d+)\)", kind)
    if size:
        return sql.Literal("[" + ",".join(["1"] * int(size.group(1))) + "]")
    if kind.endswith("[]"):
        return sql.Literal("{}")
    by_kind = {"uuid": str(new_id()), "jsonb": "{}", "boolean": "true", "bytea": "x", "tsvector": "x"}
    is_time = kind.startswith(("timestamp", "date"))
    return sql.Literal(by_kind.get(kind, "2026-01-01" if is_time else "1 second" if kind == "interval" else "1"))


def _shape(database: TestDatabase) -> set[str]:
    with psycopg.connect(database.admin_url) as connection:
        rows = connection.execute(
            "SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable"
            " FROM information_schema.columns WHERE table_schema = 'public'"
            " UNION ALL SELECT tablename || ' index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'"
            " UNION ALL SELECT tablename || ' policy ' || policyname FROM pg_policies WHERE schemaname = 'public'"
            " UNION ALL SELECT 'function ' || proname FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace"
            " WHERE n.nspname = 'public'"
            " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"
        )
        return {row[0] for row in rows}
