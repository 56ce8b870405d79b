"""A goal's progress in the terminal: one line for each thing that happened, then the result and what it cost."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.panel import Panel
from rich.rule import Rule
from rich.text import Text

from cognitionos import __version__
from cognitionos.cli.client import Api, StreamEvent

_LONGEST_DETAIL = 100


class Watcher:
    """Prints events as they come; with `as_json` nothing but the final goal as one JSON document."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(stderr=as_json, highlight=False, soft_wrap=not sys.stdout.isatty())
        self._titles: dict[str, str] = {}
        self._started_at: float | None = None

    def note(self, text: str) -> None:
        """A line of our own."""
        if not self._as_json:
            self._console.print(Text(text, style="dim"))

    def server(self, api: Api) -> None:
        """Where this goal runs, and which model answers."""
        self.note(f"CognitionOS {__version__} at {api.url} (documentation: {api.url}/docs)")

    def submitted(self, goal: dict[str, Any], inputs: list[dict[str, str]]) -> None:
        """The goal was accepted."""
        for one in inputs:
            self.note(f"attached {one['name']} ({one['media_type']})")
        self.note(f"goal {goal['id']} is {goal['status']}")

    def event(self, event: StreamEvent) -> None:
        """One thing that happened."""
        if self._as_json:
            return
        line = _LINES.get(event.kind)
        if event.kind == "run.planned":
            self._plan(event.data)
        elif line is not None:
            self._print(event, *line(self._with_title(event.data)))

    def finished(self, goal: dict[str, Any], saved: list[Path]) -> None:
        """The goal has ended: its result, or why there is none; what it cost; where to look."""
        if self._as_json:
            print(json.dumps(goal, indent=2))
            return
        result = goal.get("result")
        if result:
            self._console.print(Rule("result", style="green"))
            self._console.print(Markdown(result["text"]))
            self._console.print(Rule(style="green"))
            for artifact in result["artifacts"]:
                self.note(f"artifact {artifact['name']} ({artifact['bytes']} bytes) at {artifact['href']}")
        else:
            problem = goal.get("error") or {}
            text = problem.get("detail") or f"the goal was {goal['status']}"
            self._console.print(Panel(Text(text), title=goal["status"], border_style="red"))
        for path in saved:
            self.note(f"saved {path}")
        self._console.print(Text(_cost(goal)))
        self.note(f"everything about it: cognitionos inspect {goal['id']}")

    def _plan(self, data: dict[str, Any]) -> None:
        self._console.print(Rule("plan"))
        for task in data["tasks"]:
            self._titles[task["key"]] = task["title"]
            after = f"  (after {', '.join(task['depends_on'])})" if task["depends_on"] else ""
            self._console.print(Text(f"  {task['key']:<8} {task['title']}{after}"))
        self._console.print(Rule())

    def _with_title(self, data: dict[str, Any]) -> dict[str, Any]:
        key = data.get("task", "")
        return {**data, "name": f"{key} {self._titles.get(key, '')}".strip()}

    def _print(self, event: StreamEvent, mark: str, style: str, text: str) -> None:
        if len(text) > _LONGEST_DETAIL:
            text = text[: _LONGEST_DETAIL - 1] + "…"
        self._console.print(Text(f"{_clock(event)}  {mark} ", style="dim"), Text(" ".join(text.split()), style=style))


def _clock(event: StreamEvent) -> str:
    return str(event.data.get("at", ""))[11:19]


def _cost(goal: dict[str, Any]) -> str:
    cost = f"cost ${goal['cost_usd']} of ${goal['budget_usd']}"
    if not goal.get("simulated"):
        return f"{cost}, model {goal.get('model')}"
    would = goal.get("priced_as")
    priced = f"; {would['model']} would have cost ${would['cost_usd']}" if would else ""
    return f"{cost}, SIMULATED by {goal.get('model')}: no model was asked{priced}"


Line = Callable[[dict[str, Any]], tuple[str, str, str]]

_LINES: dict[str, Line] = {
    "task.started": lambda data: (">", "bold", data["name"]),
    "task.succeeded": lambda data: ("+", "green", f"{data['name']} done"),
    "task.failed": lambda data: ("x", "red", f"{data['name']} failed: {data.get('detail', '')}"),
    "task.retrying": lambda data: ("~", "yellow", f"{data['name']} again: {data.get('detail', '')}"),
    "run.failed": lambda _: ("x", "red", "the run failed"),
    "run.cancelled": lambda _: ("x", "yellow", "the run was cancelled"),
}
