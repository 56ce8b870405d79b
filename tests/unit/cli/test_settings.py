"""A wrong setting is named by its variable, with its fault and what is expected."""

import pytest

from cognitionos.cli import main
from cognitionos.cli.settings import SettingRefused, read_settings
from cognitionos.platform.database_url import redacted


def test_each_wrong_variable_has_a_line_that_says_what_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGNITIONOS_TASK_SLOTS", "x")
    monkeypatch.setenv("COGNITIONOS_MODE", "prod")

    with pytest.raises(SettingRefused) as refused:
        read_settings()

    assert sorted(refused.value.detail.splitlines()) == [
        "COGNITIONOS_MODE is 'prod'; it should be 'development' or 'production'",
        "COGNITIONOS_TASK_SLOTS is 'x'; it should be a valid integer (tasks a worker runs at once)",
    ]


@pytest.mark.parametrize("command", ["doctor", "up", "serve", "work", "migrate", "tenants create x"])
def test_no_command_answers_a_wrong_setting_with_a_traceback(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COGNITIONOS_TASK_SLOTS", "0")

    status = main(command.split())

    told = capsys.readouterr().err
    assert status == 1
    assert told == (
        "cognitionos: COGNITIONOS_TASK_SLOTS is '0'; it should be greater than or equal to 1 "
        "(tasks a worker runs at once)\n"
    )


@pytest.mark.parametrize(("every_s", "dead_s"), [("12", "50"), ("12", "20"), ("15", "41"), ("0.2", "0.3")])
def test_holds_of_a_dead_process_are_closed_within_a_minute_whatever_is_set(
    every_s: str, dead_s: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COGNITIONOS_HOLD_SWEEP_S", every_s)
    monkeypatch.setenv("COGNITIONOS_HOLD_DEAD_S", dead_s)

    with pytest.raises(SettingRefused, match=r"COGNITIONOS_HOLD_DEAD_S.*it should be from"):
        read_settings()


def test_production_without_its_secret_is_a_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGNITIONOS_MODE", "production")
    monkeypatch.delenv("COGNITIONOS_SECRET_KEY", raising=False)

    with pytest.raises(SettingRefused, match="COGNITIONOS_SECRET_KEY must be set"):
        read_settings(to_serve=True)


def test_production_refuses_a_secret_that_can_be_guessed_and_says_how_to_make_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COGNITIONOS_MODE", "production")
    monkeypatch.setenv("COGNITIONOS_SECRET_KEY", "x" * 31)
    with pytest.raises(SettingRefused, match=r"32 characters or more.*'openssl rand -base64 32'") as refused:
        read_settings(to_serve=True)
    monkeypatch.setenv("COGNITIONOS_SECRET_KEY", "x" * 32)

    assert "xxx" not in str(refused.value)
    assert read_settings(to_serve=True).is_production


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://app:p@ss@db:5432/cos", "postgresql://app:***@db:5432/cos"),
        ("postgresql://app@/cos?host=%2Frun%2Fpg&password=x", "postgresql://app@/cos?host=%2Frun%2Fpg&password=***"),
        ("host=db password='a b' user=app", "host=db password=*** user=app"),
        ("postgresql://app@db/cos", "postgresql://app@db/cos"),
    ],
)
def test_a_shown_url_has_no_password(url: str, shown: str) -> None:
    assert redacted(url) == shown


@pytest.mark.parametrize("name", ["HTTP_ALLOW", "PROVIDER_ALLOW", "TOOL_ALLOW", "WEBHOOK_ALLOW"])
def test_a_list_of_hosts_that_cannot_be_read_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"COGNITIONOS_{name}", "api.example.com,10.0.0.5")

    with pytest.raises(SettingRefused, match=f"COGNITIONOS_{name}.*'10.0.0.5': a literal address needs its port"):
        read_settings()
