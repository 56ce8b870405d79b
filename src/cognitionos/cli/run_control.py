"""`cognitionos pause`, `resume`, `retry`, `fork`, `snapshot`, `replay`, ...: runs, from the terminal."""

import argparse
import json
from collections.abc import Callable
from typing import Any

from cognitionos.cli.arguments import Commands, add_command, add_server_arguments, say
from cognitionos.cli.client import server_of
from cognitionos.cli.subject import an_id, subject_of
from cognitionos.kernel.errors import Invalid
from cognitionos.kernel.json_text import read_json

Act = Callable[[argparse.Namespace], int]


def register(commands: Commands) -> None:
    """Add the commands."""
    parsers = {
        name: _with_run(commands, name, act, does, examples) for name, (act, does, examples) in _COMMANDS.items()
    }
    parsers["pause"].add_argument("--now", action="store_true", help="stop agents after their next step")
    parsers["snapshot"].add_argument("name", help="unique in the run")
    forking = parsers["fork"]
    forking.add_argument("--from", dest="start", metavar="TASK", help="the first task that is done again")
    forking.add_argument("--snapshot", metavar="NAME", help="start from this snapshot")
    forking.add_argument("--change", metavar="TASK=JSON", action="append", default=[], help="new input (repeatable)")
    forking.add_argument("--input", metavar="JSON", help="new input of the run")


def pause(args: argparse.Namespace) -> int:
    """Start no more of a run's tasks."""
    return _acted(args, "pause", query="?now=true" if args.now else "")


def resume(args: argparse.Namespace) -> int:
    """Let a paused run go on."""
    return _acted(args, "resume")


def retry(args: argparse.Namespace) -> int:
    """Do again what failed or was cancelled of a run."""
    return _acted(args, "retry")


def fork(args: argparse.Namespace) -> int:
    """Start a new run from some point of an earlier one."""
    body: dict[str, Any] = {}
    if args.start is not None:
        body["from"] = args.start
    if args.snapshot is not None:
        body["snapshot"] = args.snapshot
    if args.input is not None:
        body["input"] = _json(args.input, "--input")
    if args.change:
        body["changes"] = dict(_change(text) for text in args.change)
    run = _of_run(args, "post", "fork", body)
    done = run["total_tasks"] - run["reused_tasks"]
    return say(args, run, f"run {run['id']} does {done} of {run['total_tasks']} tasks again, the others are reused")


def snapshot(args: argparse.Namespace) -> int:
    """Name the present state of a run."""
    taken = _of_run(args, "post", "snapshots", {"name": args.name})
    return say(args, taken, f"snapshot '{taken['name']}' holds the run after event {taken['seq']}")


def critical_path(args: argparse.Namespace) -> int:
    """Show which tasks decided how long a run took."""
    path = _of_run(args, "get", "critical-path")
    lines = [
        f"{task['seconds']:9.3f} s  {task['key']}  {task['title'] or task['kind']}{' (reused)' * task['reused']}"
        for task in path["tasks"]
    ]
    lines.append(f"{path['length_s']:9.3f} s  is the longest chain, of {path['work_s']:.3f} s of work")
    if path["speed_up"] is not None:
        most = f", at most {path['most_speed_up']:.2f} times" if path["most_speed_up"] is not None else ""
        lines.append(f"the run took {path['wall_s']:.3f} s: {path['speed_up']:.2f} times as fast as one by one{most}")
    return say(args, path, "\n".join(lines))


def explain(args: argparse.Namespace) -> int:
    """Show which models decided what in a run, and why they were asked."""
    told = _of_run(args, "get", "explain")
    lines = []
    for each in told["decisions"]:
        lines.append(f"{each['task']}  {each['step']}  {each['role']} ({each['prompt']}){_judged(each['verdict'])}")
        if each["grounding"] is not None:
            lines += [f"    unsupported: {claim['text']}" for claim in each["grounding"]["unsupported"]]
        call = each["call"]
        if call is not None:
            cost = "" if call["cost_usd"] is None else f", ${call['cost_usd']}"
            lines.append(f"    {call['model']} at {call['provider']}: {call['why']}; attempts {call['attempts']}{cost}")
        if each["budget_left_usd"] is not None:
            lines.append(f"    ${each['budget_left_usd']} of the budget of {each['budget_subject']} were left")
        lines += [f"    remembered: {memory}" for memory in each["memories"]]
    if told["next_cursor"] is not None:
        lines.append("... and more: --json names the cursor of the next page")
    return say(args, told, "\n".join(lines) or "no model was asked")


def replay(args: argparse.Namespace) -> int:
    """Do a finished run again from its recording; status 1 when it diverges."""
    report = _of_run(args, "post", "replay", {})
    found = report["divergence"]
    did = f"{report['replayed']} tasks replayed ({report['steps']} steps), {report['recomputed']} recomputed"
    stood = f"{report['recorded']} calls answered from the record, {report['taken']} taken over"
    text = f"{did}, {stood}; no model was called"
    if found is not None:
        at = f"{found['task']} {found['step'] or ''}".strip()
        text += f"\ndiverges at {at}: {found['field']} was {found['expected']!r}, is {found['actual']!r}"
    say(args, report, text)
    return 0 if found is None else 1


def export(args: argparse.Namespace) -> int:
    """Print the recording of a finished run."""
    print(json.dumps(_of_run(args, "get", "recording"), indent=1))
    return 0


def _judged(verdict: dict[str, Any] | None) -> str:
    if verdict is None:
        return ""
    return " -> accepts" if verdict["accepted"] else f" -> sends back: {'; '.join(verdict['reasons'])}"


def _acted(args: argparse.Namespace, verb: str, query: str = "") -> int:
    run = _of_run(args, "post", f"{verb}{query}", {})
    return say(args, run, f"run {run['id']} is {run['status']}")


def _of_run(args: argparse.Namespace, method: str, path: str, *body: Any) -> Any:
    """Ask something of the run that the id names, by itself or by its goal."""
    api = server_of(args)
    return getattr(api, method)(f"/v1/runs/{subject_of(api, args.id).run_id}/{path}", *body)


def _json(text: str, option: str) -> Any:
    try:
        return read_json(text)
    except ValueError as error:
        raise Invalid(f"{option} must be JSON: {error}") from error


def _change(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise Invalid(f"--change must be TASK=JSON, not {text!r}")
    return key, _json(value, f"--change {key}")


def _with_run(commands: Commands, name: str, act: Act, does: str, examples: str) -> argparse.ArgumentParser:
    parser = add_command(commands, name, does=does, examples=examples)
    parser.add_argument("id", type=an_id, help="the run's id, or its goal's")
    add_server_arguments(parser)
    parser.set_defaults(run=act)
    return parser


_COMMANDS: dict[str, tuple[Act, str, str]] = {
    "pause": (
        pause,
        "Pause a run: what runs ends, nothing else starts.",
        "cognitionos pause 0193a1f2-... --now",
    ),
    "resume": (resume, "Let a paused run go on.", "cognitionos resume 0193a1f2-..."),
    "retry": (
        retry,
        "Do again what failed or was cancelled of a run; finished work stays.",
        "cognitionos retry 0193a1f2-...",
    ),
    "fork": (
        fork,
        "Start a new run from some point of an earlier one: what came before is reused.",
        """
            cognitionos fork 0193a1f2-... --from t2
            cognitionos fork 0193a1f2-... --change 't2={"instructions": "Shorter, please."}'
            cognitionos fork 0193a1f2-... --snapshot before-review --json
        """,
    ),
    "snapshot": (
        snapshot,
        "Name the present state of a run, to fork from it later.",
        "cognitionos snapshot 0193a1f2-... before-review",
    ),
    "critical-path": (
        critical_path,
        "Show which tasks decided how long a run took, and what doing others at the same time saved.",
        "cognitionos critical-path 0193a1f2-... --json",
    ),
    "explain": (
        explain,
        "Show which model decided what in a run, why it was asked, and what was left of the budget then.",
        "cognitionos explain 0193a1f2-... --json",
    ),
    "replay": (
        replay,
        "Do a finished run again from its recording, without a model, and show the first difference.",
        "cognitionos replay 0193a1f2-... --json",
    ),
    "export": (
        export,
        "Print the recording of a finished run: what a replay needs, as JSON.",
        "cognitionos export 0193a1f2-... > run.json",
    ),
}
"""By name: what it does, in code and in words, and examples."""
