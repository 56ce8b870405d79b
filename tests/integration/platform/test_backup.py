"""A backup as docs/operations.md says: by a role that row-level security does not bind; the owner gets none."""

import subprocess
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg.conninfo import conninfo_to_dict
from tests.conftest import TestDatabase

from cognitionos.platform.embedded.binaries import find_postgres


def dump(url: str, to: Path) -> subprocess.CompletedProcess[str]:
    program = find_postgres().postgres.with_name("pg_dump")
    return subprocess.run([program, "-Fc", "-f", to, url], capture_output=True, text=True, timeout=60, check=False)


def test_who_bypasses_row_level_security_backs_up_and_the_owner_gets_an_error_not_a_part(
    database: TestDatabase, tmp_path: Path
) -> None:
    role, password = f"backing_up_{uuid4().hex}", conninfo_to_dict(database.owner_url).get("password", "unused")
    with psycopg.connect(database.admin_url) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN BYPASSRLS PASSWORD '{password}'".encode())
        admin.execute(f"GRANT pg_read_all_data TO {role}".encode())
    try:
        by_owner = dump(database.owner_url, tmp_path / "owner.dump")
        by_role = dump(database.owner_url.replace("cognitionos_owner", role), tmp_path / "whole.dump")
    finally:
        with psycopg.connect(database.admin_url) as admin:
            admin.execute(f"DROP ROLE {role}".encode())

    assert by_owner.returncode != 0
    assert "row-level security" in by_owner.stderr
    assert (by_role.returncode, by_role.stderr) == (0, "")
