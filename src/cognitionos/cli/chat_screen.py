"""What a conversation looks like in the terminal, and as JSON lines for scripts."""

import json
import sys
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from cognitionos.cli.client import StreamEvent

_LONGEST_LINE = 110
Verdict = tuple[bool, str]
"""Whether it is approved, and a comment."""


class Screen(Protocol):
    """Where a conversation is shown, and who is asked."""

    def begins(self, conversation: dict[str, Any]) -> None:
        """This conversation is begun or gone on with."""

    def event(self, event: StreamEvent) -> None:
        """Something happened."""

    def note(self, text: str) -> None:
        """A line of our own."""

    def asks_for_a_message(self) -> str | None:
        """The next message; None: there is none any more."""

    def asks_to_approve(self, asked: dict[str, Any]) -> Verdict | None:
        """What the user decides; None: nobody is there to decide."""


class JsonLines:
    """One JSON object a line: `event`, `id` and `data`. Nobody is asked."""

    def begins(self, conversation: dict[str, Any]) -> None:
        """As an event of its own."""
        self.event(StreamEvent("", "conversation", conversation))

    def event(self, event: StreamEvent) -> None:
        """As it came."""
        print(json.dumps({"event": event.kind, "id": event.id or None, "data": event.data}), flush=True)

    def note(self, text: str) -> None:
        """Beside the lines."""
        print(text, file=sys.stderr)

    def asks_for_a_message(self) -> str | None:
        """A line of standard input, without a prompt."""
        line = sys.stdin.readline()
        return line.strip() if line else None

    def asks_to_approve(self, asked: dict[str, Any]) -> Verdict | None:
        """`cognitionos approve` does."""
        return None


class Terminal:
    """Words on standard output as they come (whole where that is no terminal), everything else on standard error."""

    def __init__(self, *, read: Callable[[str], str] = input, out: TextIO | None = None) -> None:
        self._read = read
        self._out = out or sys.stdout
        self._is_live = self._out.isatty()
        self._console = Console(stderr=True, highlight=False)
        self._said = ""

    def begins(self, conversation: dict[str, Any]) -> None:
        """Who answers."""
        turns = f", {conversation['turns']} messages so far" if conversation["turns"] else ""
        self.note(f"conversation {conversation['id']} with {conversation['agent']}{turns}")

    def event(self, event: StreamEvent) -> None:
        """A word, a step, the end."""
        data = event.data
        if event.kind == "agent.delta":
            self._say(data["text"])
        elif event.kind == "agent.answered":
            if data["calls"]:
                self._break()
        elif event.kind == "message":
            self._answer(data)
        elif event.kind == "error":
            self._break()
            self._console.print(Panel(Text(data["detail"]), title=data["type"].rpartition("/")[2], border_style="red"))
        elif (line := _line(event)) is not None:
            self._break()
            self._console.print(line, soft_wrap=True)

    def note(self, text: str) -> None:
        """A dim line."""
        self._break()
        self._console.print(Text(text, style="dim"), soft_wrap=True)

    def asks_for_a_message(self) -> str | None:
        """A line typed by the user."""
        try:
            return self._read("you> ").strip()
        except (EOFError, KeyboardInterrupt):
            return None

    def asks_to_approve(self, asked: dict[str, Any]) -> Verdict | None:
        """With the exact arguments before the user's eyes. Any other answer than yes or no is a no, and the reason."""
        self._break()
        arguments = json.dumps(asked["details"]["arguments"], indent=2, ensure_ascii=False)
        self._console.print(Panel(Text(arguments), title=Text(asked["prompt"]), border_style="yellow"))
        if not sys.stdin.isatty():
            told = f"waits until {asked['deadline_at'][:19]} (then: {asked['default']}) for: cognitionos approve"
            self.note(f"{told} {asked['approval_id']} (or reject)")
            return None
        try:
            said = self._read("approve? [yes/no/why not] ").strip()
        except EOFError:
            return None
        return said.casefold() in {"y", "yes"}, "" if said.casefold() in {"y", "yes", "n", "no"} else said

    def _say(self, words: str) -> None:
        self._said += words
        if self._is_live:
            self._out.write(words)
            self._out.flush()

    def _answer(self, turn: dict[str, Any]) -> None:
        """What of the answer has not been heard, and what it cost."""
        answer = turn["answer"] or ""
        heard = self._said.lstrip() if self._is_live else ""
        if heard.rstrip() == answer:
            heard = answer
        elif not answer.startswith(heard):
            self._break()
            heard = ""
        self._out.write(answer[len(heard) :] + "\n")
        self._out.flush()
        self._said = ""
        files = f", files: {', '.join(turn['files'])}" if turn["files"] else ""
        simulated = "SIMULATED, no model is connected: " if turn["simulated"] else ""
        self.note(f"{simulated}{turn['model']}, ${turn['cost_usd']}{files}")

    def _break(self) -> None:
        """End the line that words stand on."""
        if self._said and self._is_live:
            self._out.write("\n")
            self._out.flush()
        self._said = ""


_TOLD: dict[str, Callable[[dict[str, Any]], str]] = {
    "agent.handed_off": lambda data: f"> {data['from']} hands over to {data['to']}: {data['reason']}",
    "agent.restarted": lambda _: "~ the model broke off and begins again",
    "agent.resumed": lambda _: "~ taken up again from its journal",
    "approval.decided": lambda data: f"+ {data['decision']} by {data['by'] or 'its deadline'}",
}


def _line(event: StreamEvent) -> Text | None:
    data = event.data
    if event.kind == "agent.tool_called":
        failed = data["outcome"] != "ok"
        files = f" -> {', '.join(data['files'])}" if data["files"] else ""
        text = Text(f"{'!' if failed else '*'} {data['tool']}: {' '.join(data['result'].split())}")
        text.truncate(_LONGEST_LINE, overflow="ellipsis")
        text.append(files)
        text.stylize("yellow" if failed else "cyan")
        return text
    told = _TOLD.get(event.kind)
    return None if told is None else Text(told(data), style="dim")
