"""`cognitionos chat`: talk with an agent in the terminal."""

import argparse
import http.client
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cognitionos.cli.arguments import Commands, add_command, add_server_arguments
from cognitionos.cli.chat_screen import JsonLines, Screen, Terminal
from cognitionos.cli.client import Api, ServerUnreachable, StreamEvent, server_of
from cognitionos.kernel.errors import Invalid

MOST_RECONNECTS = 30
AGAIN_S = 1.0
_STOPS = "/problems/unavailable"
_KEYS = """Ctrl-C stops an answer, /exit or Ctrl-D ends the talk. Without a terminal the question comes from standard
input, and only the answer goes to standard output; --json prints one event a line."""
_LEAVE = {"/exit", "/quit", "/bye"}


class NothingSaid(Invalid):
    """There is no question and nobody to ask for one."""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "chat",
        does="Talk with an agent: words as they come, its tools, what it may not do unasked.",
        examples="""
            cognitionos chat
            cognitionos chat "Which river is the longest?"
            cognitionos chat --agent researcher --title Rivers
            cognitionos chat --conversation 0193a1f2-... "And the second?"
            git diff | cognitionos chat --json > events.jsonl
        """,
    )
    parser.description = f"{parser.description} {_KEYS}"
    parser.add_argument("question", nargs="?", help="ask this, print the answer and end")
    parser.add_argument("--agent", default="executor", help="who answers (default: executor; `/v1/agents` has them)")
    parser.add_argument("--conversation", metavar="ID", help="go on with this one instead of starting a new one")
    parser.add_argument("--title", default="", help="of a new conversation")
    add_server_arguments(parser)
    parser.set_defaults(run=chat)


def chat(args: argparse.Namespace) -> int:
    """Ask one question, or talk until the user leaves."""
    api, is_alone = server_of(args), not sys.stdin.isatty()
    question = args.question or (sys.stdin.read().strip() if is_alone else None)
    if is_alone and not question:
        raise NothingSaid('there is nothing to ask: cognitionos chat "QUESTION", or the question on standard input')
    screen: Screen = JsonLines() if args.json else Terminal()
    talk = _talk(args, api, screen)
    if question:
        return 0 if talk.say(question) else 1
    while (said := screen.asks_for_a_message()) is not None and said not in _LEAVE:
        if said:
            talk.say(said)
    screen.note(f"go on with: cognitionos chat --conversation {talk.id}")
    return 0


def _talk(args: argparse.Namespace, api: Api, screen: Screen) -> "Talk":
    if args.conversation:
        found = api.get(f"/v1/conversations/{args.conversation}")
    else:
        found = api.post("/v1/conversations", {"agent": args.agent, "title": args.title})
    screen.begins(found)
    return Talk(api=api, screen=screen, id=found["id"], turns=found["turns"])


@dataclass(kw_only=True)
class Talk:
    """A conversation; `turns` is how many messages it has."""

    api: Api
    screen: Screen
    id: str
    turns: int

    def say(self, text: str) -> bool:
        """Show the answer as it comes; whether there was one. Ctrl-C cancels the turn."""
        try:
            last = self._answered(text)
        except KeyboardInterrupt:
            self.screen.note("stopped")
            self.api.post(f"/v1/conversations/{self.id}/cancel", {})
            last = None
        self.turns += 1
        return last is not None and last.kind == "message"

    def _answered(self, text: str) -> StreamEvent:
        for event in self._events(text):
            self.screen.event(event)
            if event.kind == "approval.requested":
                self._decide(event.data)
            elif event.kind in {"message", "error"}:
                return event
        raise ServerUnreachable(f"the stream of conversation {self.id} was lost; its answer will be in its messages")

    def _events(self, text: str) -> Iterator[StreamEvent]:
        """The turn's events; a stream that breaks off is taken up after its last."""
        path, after = f"/v1/conversations/{self.id}", f"{self.turns}.end"
        events = self.api.events(f"{path}/messages", body={"content": text, "stream": True})
        for _ in range(MOST_RECONNECTS):
            try:
                for event in events:
                    if event.kind == "error" and event.data.get("type") == _STOPS and not event.id:
                        break
                    after = event.id or after
                    yield event
            except (TimeoutError, ConnectionError, http.client.HTTPException, ServerUnreachable) as error:
                self.screen.note(f"connection lost ({error}), trying again")
            time.sleep(AGAIN_S)
            events = self.api.events(f"{path}/events", after)

    def _decide(self, asked: dict[str, Any]) -> None:
        """Let the user decide, where there is one; others may do so meanwhile."""
        verdict = self.screen.asks_to_approve(asked)
        if verdict is None:
            return
        is_approved, comment = verdict
        body = {"comment": comment} if comment else {}
        path = f"/v1/approvals/{asked['approval_id']}/{'approve' if is_approved else 'reject'}"
        try:
            self.api.post(path, body)
        except Invalid as error:  # decided otherwise, or too late
            self.screen.note(json.dumps(error.detail))
