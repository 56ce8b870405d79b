"""What the terminal shows: progress while it lasts, then a table or one JSON document."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cognitionos.cli.crash_test.storm import Storm
from cognitionos.cli.crash_test.verdict import Verdict

_MOST_FAULTS = 20


def document(verdict: Verdict, setting: dict[str, Any], limit_s: float) -> dict[str, Any]:
    """Everything that was found out, after how it was (`setting`); `ok` is whether every promise was kept."""
    p99 = verdict.take_over_s(0.99)
    late = [] if p99 is None or p99 <= limit_s else [f"take-over: p99 is {p99:.2f} s, more than {limit_s:.2f} s"]
    return {
        "ok": not (verdict.faults or late),
        **setting,
        "runs": {"ended": verdict.runs, "succeeded": verdict.runs_succeeded},
        "tasks": {"wanted": verdict.tasks, "lost": verdict.tasks_lost, "outputs_differing": verdict.outputs_differing},
        "effects": {
            "wanted": verdict.effects,
            "lost": verdict.effects_lost,
            "doubled": verdict.effects_doubled,
            "requests_repeated_under_their_key": verdict.requests_repeated,
        },
        "take_over_s": {
            "count": len(verdict.take_overs_s),
            "p50": _rounded(verdict.take_over_s(0.5)),
            "p99": _rounded(p99),
            "max": _rounded(verdict.take_over_s(1.0)),
            "limit": limit_s,
            "unmeasured": verdict.take_overs_unmeasured,
        },
        "faults": [*verdict.faults, *late],
    }


def show(console: Console, told: dict[str, Any]) -> None:
    """The document as a table, and what is wrong below it."""
    how = "at named points" if told["seed"] is None else f"seed {told['seed']}"
    table = Table(title=f"crash test, {how}, {told['seconds']} s", show_header=False)
    runs, tasks, effects, take = (told[name] for name in ("runs", "tasks", "effects", "take_over_s"))
    for name, key in (("workers", "workers"), ("lease, s", "lease_s"), ("kills", "kills")):
        table.add_row(name, str(told[key]))
    table.add_row("runs that succeeded", f"{runs['succeeded']} of {runs['ended']}")
    table.add_row("tasks lost", f"{tasks['lost']} of {tasks['wanted']}")
    table.add_row("outputs not as without kills", str(tasks["outputs_differing"]))
    table.add_row("effects lost", f"{effects['lost']} of {effects['wanted']}")
    table.add_row("effects doubled (two keys, or none)", str(effects["doubled"]))
    table.add_row("requests sent again under their key", str(effects["requests_repeated_under_their_key"]))
    table.add_row(
        "take-over, s",
        f"p50 {take['p50']}  p99 {take['p99']}  max {take['max']}  ({take['count']}; limit {take['limit']})",
    )
    table.add_row("take-overs whose successor died unseen", str(take["unmeasured"]))
    console.print(table)
    for fault in told["faults"][:_MOST_FAULTS]:
        console.print(fault, style="red", markup=False, highlight=False)
    if len(told["faults"]) > _MOST_FAULTS:
        console.print(f"... and {len(told['faults']) - _MOST_FAULTS} more (--json shows all)")
    console.print("every promise was kept" if told["ok"] else "NOT every promise was kept", style="bold")


class Watcher:
    """A bar of kills, and what goes on."""

    def __init__(self, progress: Progress, moments: int) -> None:
        self._progress = progress
        self._bar = progress.add_task("starting", total=moments)

    def __call__(self, storm: Storm) -> None:
        """Show how far it is."""
        self.show(f"{storm.phase}; {storm.ended} runs ended", len(storm.deaths))

    def show(self, text: str, kills: int) -> None:
        """What goes on, and how many kills there were."""
        self._progress.update(self._bar, completed=kills, description=text)


@contextmanager
def watching(console: Console, moments: int) -> Iterator[Watcher]:
    """Progress on `console` for the length of a block."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("kills"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        yield Watcher(progress, moments)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
