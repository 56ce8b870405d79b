"""What is missing or broken in the servers we were given, each finding with its remedy. Changes nothing."""

from dataclasses import dataclass
from uuid import UUID

import psycopg
import redis

from cognitionos.platform import migrations
from cognitionos.platform.database_url import ENCODING, ENCODING_REMEDY

_CONNECT_WITHIN_S = 3
_ROLES = ("cognitionos_app", "cognitionos_owner", "cognitionos_dispatch")
_BOOTSTRAP = "run src/cognitionos/platform/bootstrap.sql once in this database as a superuser"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at. `remedy` is empty when `ok`; the product does not run without what is `required`."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    required: bool = True


def examine_database(app_url: str, owner_url: str) -> list[Finding]:
    """Reachable, roles, the `vector` extension, the schema's revision."""
    try:
        with psycopg.connect(app_url, connect_timeout=_CONNECT_WITHIN_S) as connection:
            version = connection.info.server_version // 10000
            findings = [
                Finding(name="database", ok=True, detail=f"PostgreSQL {version} answers"),
                _encoding(connection),
                _extension(connection),
                _roles(connection),
                _row_level_security(connection),
            ]
    except psycopg.OperationalError as error:
        reason = (str(error).strip().splitlines() or ["no answer"])[-1]
        return [Finding(name="database", ok=False, detail=reason, remedy="check DATABASE_URL and that the server runs")]
    return [*findings, _schema(owner_url)]


def examine_redis(url: str) -> Finding:
    """Reachable. Not required: without it everything is slower and still right."""
    try:
        with redis.Redis.from_url(
            url, socket_connect_timeout=_CONNECT_WITHIN_S, socket_timeout=_CONNECT_WITHIN_S
        ) as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        remedy = "check REDIS_URL and that the server runs; until then there is no cache and progress is by sweeps"
        return Finding(name="redis", ok=False, detail=str(error), remedy=remedy, required=False)
    return Finding(name="redis", ok=True, detail="answers")


def tenants_of(owner_url: str) -> list[UUID]:
    """Every tenant, newest first. Raises `psycopg.Error`, also where the role is not the owner's."""
    with psycopg.connect(owner_url, connect_timeout=_CONNECT_WITHIN_S) as connection:
        connection.execute("SET ROLE cognitionos_dispatch")
        rows = connection.execute("SELECT tenant_id FROM tenants ORDER BY tenant_id DESC").fetchall()
    return [row[0] for row in rows]


def _encoding(connection: psycopg.Connection) -> Finding:
    encoding = connection.info.parameter_status("server_encoding") or "unknown"
    is_fit = encoding == ENCODING
    return Finding(name="encoding", ok=is_fit, detail=encoding, remedy="" if is_fit else ENCODING_REMEDY)


def _extension(connection: psycopg.Connection) -> Finding:
    row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
    if row is not None:
        return Finding(name="vector extension", ok=True, detail=f"pgvector {row[0]}")
    offered = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchone()
    remedy = (
        _BOOTSTRAP
        if offered
        else "install pgvector on the database server (image pgvector/pgvector), then " + _BOOTSTRAP
    )
    return Finding(name="vector extension", ok=False, detail="not installed in this database", remedy=remedy)


def _roles(connection: psycopg.Connection) -> Finding:
    rows = connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [list(_ROLES)]).fetchall()
    missing = sorted(set(_ROLES) - {row[0] for row in rows})
    if missing:
        return Finding(name="roles", ok=False, detail=f"missing: {', '.join(missing)}", remedy=_BOOTSTRAP)
    return Finding(name="roles", ok=True, detail=", ".join(_ROLES))


def _row_level_security(connection: psycopg.Connection) -> Finding:
    row = connection.execute(
        "SELECT rolname, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    name, escapes = row or ("unknown", True)
    if escapes:
        remedy = "let DATABASE_URL name cognitionos_app: this role would see every tenant's rows"
        return Finding(name="tenant isolation", ok=False, detail=f"{name} bypasses row-level security", remedy=remedy)
    return Finding(name="tenant isolation", ok=True, detail=f"{name} is bound by row-level security")


def _schema(owner_url: str) -> Finding:
    try:
        found, wanted = migrations.current(owner_url), migrations.head()
    except psycopg.Error as error:
        detail = f"cannot be read: {str(error).strip()}"
        return Finding(
            name="schema", ok=False, detail=detail, remedy="check MIGRATION_DATABASE_URL (role cognitionos_owner)"
        )
    if migrations.is_newer(found):
        detail = f"at {found}, newer than {wanted}, the newest that this version knows: a later version migrated it"
        return Finding(name="schema", ok=True, detail=detail)
    if found != wanted:
        return Finding(
            name="schema", ok=False, detail=f"at {found}, newest is {wanted}", remedy="run 'cognitionos migrate'"
        )
    return Finding(name="schema", ok=True, detail=f"at {found}")
