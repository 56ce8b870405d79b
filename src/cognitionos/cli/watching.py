"""A goal's progress in the terminal: one line for each thing that happened, then the result and what it cost."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.panel import Panel
from rich.rule import Rule
from rich.text import Text

from cognitionos import __version__
from cognitionos.cli.client import Api, StreamEvent

_LONGEST_LINE = 110
MOST_SHOWN = 100  # of a tool's answer, so that the names of its files fit behind it
_SEEN_OTHERWISE = {"planner", "critic"}  # their answers are shown as plan and verdict
_SIMULATED = (
    "SIMULATED: no model is connected. For the goals in docs/examples a scenario\n"
    "stands in for its words; for others the words mean nothing. Connect one with\n"
    "OPENAI_API_KEY, OPENAI_BASE_URL or a local server (docs/quick-start.md)."
)


class Watcher:
    """Prints events as they come; with `as_json` nothing but the final goal as one JSON document."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(stderr=as_json, highlight=False)
        self._started_at: datetime | None = None
        self._said_simulated = False

    def note(self, text: str) -> None:
        """A line of our own."""
        if not self._as_json:
            self._console.print(Text(text, style="dim"), soft_wrap=True)

    def server(self, api: Api) -> None:
        """Where this goal runs, and which model answers."""
        self.note(f"CognitionOS {__version__} at {api.url} (documentation: {api.url}/docs)")
        default = api.get("/v1/default-model")
        standing_in = " stands in: no model is connected" if default["simulated"] else ""
        self.note(f"model {default['model'] or 'none: ' + default['hint']}{standing_in}{price_note(default)}")

    def submitted(self, goal: dict[str, Any], inputs: list[dict[str, str]]) -> None:
        """The goal was accepted."""
        for one in inputs:
            self.note(f"attached {one['name']} ({one['media_type']})")
        self.note(f"goal {goal['id']} is {goal['status']}")

    def event(self, event: StreamEvent) -> None:
        """One thing that happened."""
        if self._as_json or "data" not in event.data:  # the last frame says only that the stream ends
            return
        data, key = event.data["data"], event.data["task"]
        at = datetime.fromisoformat(event.data["at"])
        self._started_at = self._started_at or at
        if data.get("simulated") and not self._said_simulated:
            self._said_simulated = True
            self._console.print(Text(_SIMULATED, style="yellow"))
        if event.kind == "run.planned":
            self._plan(data["tasks"], title=f"plan in place of {data['replaces']}" if "replaces" in data else "plan")
        elif event.kind == "plan.proposed":
            self._plan(data["tasks"], title="proposed plan")
        elif (line := _LINES.get(event.kind)) is not None:
            mark, style, text = line(data)
            self._print((at - self._started_at).total_seconds(), key, mark, Text(" ".join(text.split()), style=style))

    def finished(self, goal: dict[str, Any], saved: list[Path], look: list[str]) -> None:
        """The goal has ended: its result, or why there is none; what it cost; where to `look`."""
        if self._as_json:
            print(json.dumps(goal, indent=2))
            return
        result = goal.get("result")
        if result:
            self._console.print(Rule("result", style="green"))
            self._console.print(Markdown(result["text"]))
            self._console.print(Rule(style="green"))
            for artifact in () if saved else result["artifacts"]:
                self.note(f"artifact {artifact['name']} ({artifact['bytes']} bytes) at {artifact['href']}")
        else:
            self._failed(goal)
        for path in saved:
            self.note(f"saved {path} ({path.stat().st_size} bytes)")
        self._console.print(Text(_cost(goal)), soft_wrap=True)
        for line in look:
            self.note(line)

    def run_finished(self, run: dict[str, Any], look: list[str]) -> None:
        """A workflow's run has ended."""
        if self._as_json:
            print(json.dumps(run, indent=2))
            return
        if run["status"] != "succeeded":
            self._failed(run)
        elif run["result_text"]:
            self._console.print(Rule("result", style="green"))
            self._console.print(Markdown(run["result_text"]))
            self._console.print(Rule(style="green"))
        models = f", {', '.join(run['models'])}" if run["models"] else ""
        self._console.print(Text(f"{run['status']}, cost ${run['cost_usd']}{models}"), soft_wrap=True)
        for line in look:
            self.note(line)

    def _failed(self, ended: dict[str, Any]) -> None:
        text = (ended.get("error") or {}).get("detail") or f"was {ended['status']}"
        self._console.print(Panel(Text(text), title=ended["status"], border_style="red"))

    def _plan(self, tasks: list[dict[str, Any]], *, title: str) -> None:
        self._console.print(Rule(title, style="dim"))
        for task in tasks:
            after = f"  (after {', '.join(task['depends_on'])})" if task["depends_on"] else ""
            self._console.print(Text(f"  {task['key']:<8} {task['title']}{after}"))
        self._console.print(Rule(style="dim"))

    def _print(self, seconds: float, key: str | None, mark: str, text: Text) -> None:
        text.truncate(_LONGEST_LINE, overflow="ellipsis")
        line = Text.assemble((f"{seconds:6.1f} s  {key or '':<8} {mark} ", "dim"), text)
        self._console.print(line, soft_wrap=True)


def price_note(default: dict[str, Any]) -> str:
    """What to say about a default model that nobody has told the price of; empty where somebody has."""
    set_it = f"cognitionos prices set {default['model']} --input USD --output USD"
    if default["price"] == "free":
        return f" (nobody has told its price, and it is a server of your own: it counts as free; else: {set_it})"
    if default["price"] == "unknown" and default["model"]:
        return f" (nobody has told its price, so it is refused under a budget, as goals have one; set it: {set_it})"
    return ""


def _cost(goal: dict[str, Any]) -> str:
    cost = f"cost ${goal['cost_usd']} of ${goal['budget_usd']}"
    models = ", ".join(goal["models"]) or "no model answered"
    if not goal["simulated"]:
        return f"{cost}, {models}"
    would = goal.get("priced_as")
    priced = f"; {would['model']} would have cost ${would['cost_usd']}" if would else ""
    return f"{cost}; SIMULATED: {models} stood in for a model{priced}"


Line = Callable[[dict[str, Any]], tuple[str, str, str]]


def _answered(data: dict[str, Any]) -> tuple[str, str, str]:
    if data["calls"]:
        return ".", "dim", f"{data['role']} calls {', '.join(data['calls'])}"
    shown = "" if data["role"] in _SEEN_OTHERWISE else f": {data['text']}"
    return ".", "dim", f"{data['role']} answers ({data['tokens']} tokens){shown}"


def _tool_called(data: dict[str, Any]) -> tuple[str, str, str]:
    failed = data["outcome"] != "ok"
    result = _said(data["result"]) if data["tool"] == "python" else data["result"]
    files = f" -> {', '.join(data['files'])}" if data["files"] else ""
    shown = f"{data['tool']}: {_shortened(result, MOST_SHOWN - len(files))}{files}"
    return ("!" if failed else "*"), ("yellow" if failed else "cyan"), shown


def _said(result: str) -> str:
    """What the code printed, or how it failed, without JSON's marks; the JSON may have been cut off."""
    beginning, cut, _ = result.partition("\n[... ")
    text = re.sub(r"\\[nrt]", " ", beginning + ("…" if cut else "")).replace('\\"', "'")
    text = re.sub(r', "(files_written|files_removed)": \[[^\]]*\]?', "", text).removeprefix('{"output": ')
    return re.sub(r'[{}"]', "", text).strip()


def _shortened(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _recalled(data: dict[str, Any]) -> tuple[str, str, str]:
    memories = data["memories"]
    count = f"{len(memories)} memor{'y' if len(memories) == 1 else 'ies'}"
    return "<", "cyan", f"remembers {count}: {memories[0] if memories else ''}"


def _rejected(data: dict[str, Any]) -> tuple[str, str, str]:
    faults = "; ".join(f"{field}: {fault}" for field, fault in data["errors"].items())
    return "~", "yellow", f"the plan is sent back: {faults}"


def _asked(data: dict[str, Any]) -> tuple[str, str, str]:
    return "?", "bold yellow", f"cognitionos approve {data['approval_id']} (or reject): {data['prompt']}"


def _decided(data: dict[str, Any]) -> tuple[str, str, str]:
    comment = f": {data['comment']}" if data.get("comment") else ""
    return "+", "cyan", f"{data['decision']} by {data['by']}{comment}"


def _verdict(data: dict[str, Any]) -> tuple[str, str, str]:
    if data["accepted"]:
        return "+", "green", f"critic accepts draft {data['round']}"
    return "~", "yellow", f"critic sends draft {data['round']} back: {'; '.join(data['reasons'])}"


def _checked(data: dict[str, Any]) -> tuple[str, str, str]:
    if not data["unsupported"]:
        return "+", "green", f"draft {data['draft']}: all {data['checked']} claims are in what the agent was given"
    claims = "; ".join(claim["text"] for claim in data["unsupported"])
    count = f"{len(data['unsupported'])} of {data['checked']} claims"
    return (
        "~",
        "yellow",
        _shortened(f"draft {data['draft']}: {count} are in nothing it was given: {claims}", 2 * MOST_SHOWN),
    )


def _failure(data: dict[str, Any]) -> str:
    return str((data.get("error") or {}).get("detail", ""))


_LINES: dict[str, Line] = {
    "task.started": lambda data: (">", "bold", data.get("title") or data["kind"]),
    "task.succeeded": lambda _: ("+", "green", "done"),
    "task.failed": lambda data: ("x", "red", f"failed: {_failure(data)}"),
    "task.retrying": lambda data: ("~", "yellow", f"again after: {_failure(data)}"),
    "task.paused": lambda _: ("~", "yellow", "held"),
    "task.taken_over": lambda _: ("~", "yellow", "its worker gave no sign of life: taken over"),
    "agent.resumed": lambda _: ("~", "yellow", "taken over, goes on from its journal"),
    "agent.answered": _answered,
    "agent.tool_called": _tool_called,
    "agent.verdict": _verdict,
    "agent.checked": _checked,
    "memory.recalled": _recalled,
    "plan.rejected": _rejected,
    "approval.requested": _asked,
    "approval.decided": _decided,
    "run.replanned": lambda data: ("~", "yellow", f"planned anew (time {data['number']}), after: {_failure(data)}"),
    "run.cancelled": lambda _: ("x", "yellow", "cancelled"),
}
