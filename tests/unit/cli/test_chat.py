"""A conversation in the terminal: what is shown of a stream, what is asked, how a broken stream is gone on with."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from cognitionos.cli import chat
from cognitionos.cli.chat import Talk
from cognitionos.cli.chat_screen import JsonLines, Terminal
from cognitionos.cli.client import Api, ServerUnreachable, StreamEvent

TURN = {"answer": "It is in note.md.", "files": ["note.md"], "simulated": False, "model": "m", "cost_usd": "0.01"}
ASKED = {
    "approval_id": "a1",
    "prompt": "May write_file be used?",
    "details": {"tool": "write_file", "arguments": {"name": "note.md"}},
    "default": "reject",
    "deadline_at": "2026-11-22T10:00:00+00:00",
}


class _Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def delta(text: str) -> StreamEvent:
    return StreamEvent("", "agent.delta", {"role": "executor", "step": "executor/0/0", "text": text})


def message(number: int = 1) -> StreamEvent:
    return StreamEvent(f"{number}.end", "message", TURN)


@dataclass(frozen=True)
class ScriptedApi(Api):
    """Streams as they were written down; an exception breaks one off."""

    url: str = ""
    key: str = ""
    streams: list[list[StreamEvent | BaseException]] = field(default_factory=list)
    asked: list[tuple[str, Any]] = field(default_factory=list)

    def events(self, path: str, after: str | None = None, *, body: Any = None) -> Iterator[StreamEvent]:
        self.asked.append((path, after if body is None else body))
        for each in self.streams.pop(0):
            if isinstance(each, BaseException):
                raise each
            yield each

    def post(self, path: str, body: Any) -> Any:
        self.asked.append((path, body))
        return {}


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal: what is written to it, and somebody who types."""
    monkeypatch.setattr("sys.stdin", _Tty())
    monkeypatch.setattr(chat, "AGAIN_S", 0)
    return _Tty()


def a_talk(screen: Any, *streams: list[StreamEvent | BaseException]) -> Talk:
    return Talk(api=ScriptedApi(streams=list(streams)), screen=screen, id="c1", turns=0)


def asked_of(talk: Talk) -> list[tuple[str, Any]]:
    assert isinstance(talk.api, ScriptedApi)
    return talk.api.asked


def test_words_are_written_as_they_come_and_the_answer_once(out: io.StringIO) -> None:
    talk = a_talk(Terminal(out=out), [delta("It is "), delta("in note.md."), message()])

    assert talk.say("Where?")
    assert out.getvalue() == "It is in note.md.\n"


def test_what_was_not_heard_is_written_at_the_end(out: io.StringIO) -> None:
    heard_half = a_talk(Terminal(out=out), [delta("It is "), message()])
    heard_otherwise = a_talk(Terminal(out=out), [delta("Hm, no."), message()])

    heard_half.say("Where?")
    heard_otherwise.say("Where?")

    assert out.getvalue() == "It is in note.md.\nHm, no.\nIt is in note.md.\n"


def test_a_broken_stream_is_taken_up_after_its_last_event(out: io.StringIO) -> None:
    step = StreamEvent("1.1", "agent.answered", {"calls": ["write_file"]})
    stops = StreamEvent("", "error", {"type": "/problems/unavailable", "detail": "The server stops."})
    talk = a_talk(Terminal(out=out), [step, TimeoutError("silent")], [ServerUnreachable("gone")], [stops], [message()])

    assert talk.say("Where?")
    path = "/v1/conversations/c1"
    assert asked_of(talk) == [
        (f"{path}/messages", {"content": "Where?", "stream": True}),
        *[(f"{path}/events", "1.1")] * 3,
    ]


@pytest.mark.parametrize(
    ("said", "verb", "body"),
    [("y", "approve", {}), ("no", "reject", {}), ("not today", "reject", {"comment": "not today"})],
)
def test_the_user_is_asked_before_a_risky_call(out: io.StringIO, said: str, verb: str, body: Any) -> None:
    screen = Terminal(out=out, read=lambda _: said)
    talk = a_talk(screen, [StreamEvent("", "approval.requested", ASKED), message()])

    talk.say("Write it down.")

    assert asked_of(talk)[1] == (f"/v1/approvals/a1/{verb}", body)


def test_scripts_get_one_event_a_line_and_are_asked_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    talk = a_talk(JsonLines(), [StreamEvent("", "approval.requested", ASKED), delta("It"), message()])

    talk.say("Write it down.")

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["event"], line["id"]) for line in lines] == [
        ("approval.requested", None),
        ("agent.delta", None),
        ("message", "1.end"),
    ]
    assert len(asked_of(talk)) == 1


def test_ctrl_c_cancels_the_turn_and_the_talk_goes_on(out: io.StringIO) -> None:
    talk = a_talk(Terminal(out=out), [delta("Never "), KeyboardInterrupt()], [message(2)])

    assert not talk.say("Count for ever.")
    assert talk.say("Then where?")
    assert asked_of(talk)[1:] == [
        ("/v1/conversations/c1/cancel", {}),
        ("/v1/conversations/c1/messages", {"content": "Then where?", "stream": True}),
    ]
