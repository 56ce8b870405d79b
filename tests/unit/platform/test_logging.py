import io
import json

import pytest
from tests.waiting import eventually_sync

from cognitionos.platform import logging
from cognitionos.platform.config import Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_key", "anything"),
        ("Authorization", "Bearer abc"),
        ("text", "sent cog_0123456789abc_0123456789012345678901234567890123456789012 to them"),
        ("text", "sk-proj-0123456789abcdef"),
        ("url", "postgresql://app:hunter2hunter2@db:5432/x"),
    ],
)
def test_a_secret_is_not_logged_by_name_or_by_look(name: str, value: str) -> None:
    logged = logging.redact(None, "info", {"event": "e", name: value})

    for secret in ("anything", "Bearer abc", "_0123456789012345", "proj-0123", "hunter2"):
        assert secret not in str(logged[name])
    assert "[redacted]" in logged[name]


def test_counts_of_tokens_and_ordinary_text_stay() -> None:
    event = {"event": "call", "prompt_tokens": 12, "path": "/v1/goals", "note": "a task is done"}

    assert logging.redact(None, "info", dict(event)) == event


def test_a_line_is_json_with_time_level_and_event(capsys: pytest.CaptureFixture[str]) -> None:
    logging.configure(Settings(log_level="info"))

    logging.get_logger("here").info("goal_accepted", goal_id=7)

    line = json.loads(eventually_sync(lambda: capsys.readouterr().err))
    assert {"timestamp", "level", "event", "module", "goal_id"} <= set(line)
    assert (line["level"], line["event"], line["module"]) == ("info", "goal_accepted", "here")


def test_lines_keep_their_order_and_none_is_lost() -> None:
    out = io.StringIO()
    lines = logging.Lines(lambda: out)

    for number in range(2000):
        lines.write(f"{number}\n")
    lines.drain()

    assert eventually_sync(lambda: out.getvalue().count("\n") == 2000)
    assert out.getvalue().split() == [str(number) for number in range(2000)]


def test_nobody_reading_stops_nothing() -> None:
    out = io.StringIO()
    out.close()
    lines = logging.Lines(lambda: out)

    lines.write("gone\n")
    lines.drain()


def test_a_frequent_line_has_what_any_other_line_has(capsys: pytest.CaptureFixture[str]) -> None:
    logging.configure(Settings(log_level="info"))
    seen: list[str] = []

    logging.FrequentLine("here", "request").write({"path": "/v1/x?token=cog_0123456789abc_0123456789", "key": "k"})
    logging.get_logger("here").info("request", path="/v1/x?token=cog_0123456789abc_0123456789", key="k")

    eventually_sync(lambda: seen.extend(capsys.readouterr().err.splitlines()) or len(seen) == 2)
    lines = [json.loads(line) for line in seen]
    assert [sorted(line) for line in lines] == [sorted(lines[0])] * 2
    assert {**lines[0], "timestamp": ""} == {**lines[1], "timestamp": ""}
    assert "[redacted]" in lines[0]["path"]


def test_a_frequent_line_is_not_written_below_the_wanted_level(capsys: pytest.CaptureFixture[str]) -> None:
    logging.configure(Settings(log_level="error"))

    logging.FrequentLine("here", "request").write({"path": "/v1/x"})
    logging.get_logger("here").error("broken")

    said = eventually_sync(lambda: capsys.readouterr().err)
    assert [json.loads(line)["event"] for line in said.splitlines()] == ["broken"]
