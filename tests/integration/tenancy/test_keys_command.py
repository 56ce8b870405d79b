"""The operator's commands against a real database."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from cognitionos.cli import main
from cognitionos.platform.config import Settings


class Done(NamedTuple):
    status: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def cognitionos(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("REDIS_URL", settings.redis_url.get_secret_value())

    def run(*arguments: str) -> Done:
        status = main(arguments)
        printed = capsys.readouterr()
        return Done(status, printed.out, printed.err)

    return run


def test_a_tenant_is_created_with_a_private_key_file(cognitionos: Command, tmp_path: Path) -> None:
    key_file = tmp_path / "key"

    done = cognitionos("tenants", "create", "filed", "--key-file", str(key_file), "--json")

    assert done.status == 0, done.err
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert key_file.read_text().startswith("cog_")
    assert "key" not in json.loads(done.out)


def test_a_tenant_whose_key_file_was_lost_gets_a_new_key(cognitionos: Command, tmp_path: Path) -> None:
    first = cognitionos("tenants", "create", "lost", "--key-file", str(tmp_path / "a"), "--json")
    again = cognitionos("tenants", "create", "lost", "--key-file", str(tmp_path / "b"), "--json")

    assert json.loads(first.out)["tenant_id"] == json.loads(again.out)["tenant_id"]
    assert (tmp_path / "a").read_text() != (tmp_path / "b").read_text()


def test_a_second_tenant_of_the_same_name_is_refused_in_one_line(cognitionos: Command) -> None:
    cognitionos("tenants", "create", "twice")

    again = cognitionos("tenants", "create", "twice")

    assert again.status == 1
    assert again.err.splitlines()[-1] == "cognitionos: The name 'twice' is taken."


def test_keys_are_created_listed_and_revoked(cognitionos: Command) -> None:
    cognitionos("tenants", "create", "keyed")
    made = json.loads(cognitionos("keys", "create", "ci", "--tenant", "keyed", "--scope", "goals:read", "--json").out)

    cognitionos("keys", "revoke", made["api_key_id"], "--tenant", "keyed")
    listed = json.loads(cognitionos("keys", "list", "--tenant", "keyed", "--json").out)

    assert [(each["name"], each["revoked_at"] is not None) for each in listed] == [("ci", True), ("first key", False)]
    assert listed[0]["scopes"] == ["goals:read"]
    assert made["key"] not in json.dumps(listed)


def test_a_file_that_holds_a_key_is_not_written_over(cognitionos: Command, tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    cognitionos("tenants", "create", "kept", "--key-file", str(key_file))
    before = key_file.read_text()

    again = cognitionos("keys", "create", "ci", "--tenant", "kept", "--key-file", str(key_file))

    assert (again.status, key_file.read_text()) == (1, before)
    assert again.err.splitlines()[-1].startswith(f"cognitionos: {key_file} exists; name another file")
    assert len(json.loads(cognitionos("keys", "list", "--tenant", "kept", "--json").out)) == 1
