"""`cognitionos doctor` names what is missing in given servers, and the way to get it."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from pydantic import SecretStr
from tests.servers import TestDatabase, TestServers, create_database, drop_database, with_database
from tests.stacks import clean_environment, command

from cognitionos.composition import base as platform
from cognitionos.composition.sealed_secrets import examine_secrets
from cognitionos.platform import health
from cognitionos.platform.config import Settings
from cognitionos.platform.database_url import DatabaseUnfit, require_database
from cognitionos.platform.diagnosis import Finding, examine_database, examine_redis


@pytest.fixture(scope="module")
def unmigrated(servers: TestServers) -> Iterator[TestDatabase]:
    database = create_database(servers)
    yield database
    drop_database(servers, database)


def test_a_migrated_database_has_nothing_to_complain_about(database: TestDatabase) -> None:
    findings = examine_database(database.app_url, database.owner_url)

    assert [finding for finding in findings if not finding.ok] == []
    assert len(findings) == 6


def test_where_nothing_is_sealed_nothing_is_unreadable(settings: Settings) -> None:
    found = examine_secrets(settings)

    assert (found.ok, found.detail) == (True, "0 kept, none unreadable")


def test_an_unmigrated_database_is_told_to_migrate(unmigrated: TestDatabase) -> None:
    schema = _named("schema", examine_database(unmigrated.app_url, unmigrated.owner_url))

    assert not schema.ok
    assert "cognitionos migrate" in schema.remedy


def test_a_schema_newer_than_this_version_knows_is_well_ready_and_left_alone(
    servers: TestServers, redis_url: str
) -> None:
    database = create_database(servers)
    with psycopg.connect(database.admin_url) as admin:
        admin.execute("CREATE TABLE alembic_version AS SELECT '9999' AS version_num")
        admin.execute("GRANT SELECT ON alembic_version TO PUBLIC")
    migrate = [
        subprocess.run(
            command("migrate", *arguments),
            env=clean_environment(DATABASE_URL=database.app_url, MIGRATION_DATABASE_URL=database.owner_url),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for arguments in ([], ["--check"])
    ]

    schema = _named("schema", examine_database(database.app_url, database.owner_url))
    settings = Settings(database_url=SecretStr(database.app_url), redis_url=SecretStr(redis_url))
    readiness = asyncio.run(_readiness(settings))
    drop_database(servers, database)

    assert (schema.ok, "at 9999, newer than" in schema.detail) == (True, True)
    assert [done.returncode for done in migrate] == [0, 0]
    assert all(done.stdout.startswith("the schema is at 9999, newer than") for done in migrate)
    assert readiness == "ready"


async def _readiness(settings: Settings) -> str:
    base = platform.build(settings)
    await base.database.open()
    try:
        return (await health.Readinesses(base.database, base.redis).check()).status
    finally:
        await base.database.close()
        await base.redis.aclose()


def test_a_database_without_the_extension_is_told_how_to_get_it(unmigrated: TestDatabase) -> None:
    with psycopg.connect(unmigrated.admin_url) as connection:
        connection.execute("DROP EXTENSION vector")
    try:
        extension = _named("vector extension", examine_database(unmigrated.app_url, unmigrated.owner_url))
    finally:
        with psycopg.connect(unmigrated.admin_url) as connection:
            connection.execute("CREATE EXTENSION vector")

    assert not extension.ok
    assert "bootstrap.sql" in extension.remedy


def test_a_role_that_escapes_tenant_isolation_is_refused(database: TestDatabase) -> None:
    isolation = _named("tenant isolation", examine_database(database.admin_url, database.owner_url))

    assert not isolation.ok
    assert "cognitionos_app" in isolation.remedy


def test_a_database_without_utf8_is_refused_with_the_remedy(servers: TestServers) -> None:
    name = f"test_{uuid4().hex[:12]}"
    url = with_database(servers.postgres_url, name)
    with psycopg.connect(servers.postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0".encode())
        try:
            encoding = _named("encoding", examine_database(url, url))
            with pytest.raises(DatabaseUnfit, match="ENCODING 'UTF8' TEMPLATE template0"):
                require_database(url, remedy="")
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    assert (encoding.ok, encoding.detail) == (False, "SQL_ASCII")


def test_a_server_that_does_not_answer_is_one_finding(tmp_path: Path) -> None:
    nowhere = f"postgresql://cognitionos_app@/cognitionos?host={tmp_path}"

    findings = examine_database(nowhere, nowhere)

    assert [finding.name for finding in findings] == ["database"]
    assert "DATABASE_URL" in findings[0].remedy


def test_redis_is_wished_for_and_not_required(redis_url: str, tmp_path: Path) -> None:
    gone = examine_redis(f"unix://{tmp_path}/none.sock")

    assert examine_redis(redis_url).ok
    assert not gone.ok
    assert not gone.required


def test_the_command_fails_when_something_required_is_missing(tmp_path: Path) -> None:
    nowhere = f"postgresql://cognitionos_app@/cognitionos?host={tmp_path}"

    done = _doctor(tmp_path, DATABASE_URL=nowhere)

    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert not report["ok"]
    assert {finding["name"] for finding in report["findings"] if not finding["ok"]} >= {"database"}


def test_the_command_is_content_with_nothing_but_the_wheels(tmp_path: Path) -> None:
    done = _doctor(tmp_path)

    report = json.loads(done.stdout)
    names = {finding["name"] for finding in report["findings"]}
    assert done.returncode == 0
    assert {"python", "embedded PostgreSQL", "embedded Valkey", "python sandbox", "model providers"} <= names
    assert all(finding["remedy"] for finding in report["findings"] if not finding["ok"])


def test_production_without_secret_or_provider_is_not_fit(tmp_path: Path) -> None:
    report = json.loads(_doctor(tmp_path, COGNITIONOS_MODE="production").stdout)

    missing = {finding["name"] for finding in report["findings"] if finding["required"] and not finding["ok"]}
    assert missing == {"secret key", "model providers"}


def _doctor(data_dir: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("doctor", "--data", str(data_dir / "data"), "--json"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=clean_environment(**settings),
    )


def _named(name: str, findings: list[Finding]) -> Finding:
    return next(finding for finding in findings if finding.name == name)
