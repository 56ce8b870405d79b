"""`cognitionos pause`, `resume`, `retry`, `fork`, `snapshot`, `replay`, ...: runs, from the terminal."""

import argparse
import json
from typing import Any

from cognitionos.cli.arguments import Commands, add_command, add_server_arguments
from cognitionos.cli.client import server_of
from cognitionos.cli.subject import an_id, subject_of
from cognitionos.kernel.errors import Invalid


def register(commands: Commands) -> None:
    """Add the commands."""
    _register_verbs(commands)
    _register_fork(commands)
    _register_snapshot(commands)
    _register_path(commands)
    _register_explain(commands)
    _register_replay(commands)


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
    _say(args, run, f"run {run['id']} does {done} of {run['total_tasks']} tasks again, the others are reused")
    return 0


def snapshot(args: argparse.Namespace) -> int:
    """Name the present state of a run."""
    taken = _of_run(args, "post", "snapshots", {"name": args.name})
    _say(args, taken, f"snapshot '{taken['name']}' holds the run after event {taken['seq']}")
    return 0


def critical_path(args: argparse.Namespace) -> int:
    """Show which tasks decided how long a run took."""
    path = _of_run(args, "get", "critical-path")
    lines = [f"{task['seconds']:9.3f} s  {task['key']}  {task['title'] or task['kind']}" for task in path["tasks"]]
    lines.append(f"{path['length_s']:9.3f} s  is the longest chain, of {path['work_s']:.3f} s of work")
    if path["speed_up"] is not None:
        most = f", at most {path['most_speed_up']:.2f} times" if path["most_speed_up"] is not None else ""
        lines.append(f"the run took {path['wall_s']:.3f} s: {path['speed_up']:.2f} times as fast as one by one{most}")
    _say(args, path, "\n".join(lines))
    return 0


def explain(args: argparse.Namespace) -> int:
    """Show which models decided what in a run, and why they were asked."""
    told = _of_run(args, "get", "explain")
    lines = []
    for each in told["decisions"]:
        lines.append(f"{each['task']}  {each['step']}  {each['role']} ({each['prompt']}){_judged(each['verdict'])}")
        call = each["call"]
        if call is not None:
            cost = "" if call["cost_usd"] is None else f", ${call['cost_usd']}"
            lines.append(f"    {call['model']} at {call['provider']}: {call['why']}; attempts {call['attempts']}{cost}")
        if each["budget_left_usd"] is not None:
            lines.append(f"    ${each['budget_left_usd']} of the budget were left")
        lines += [f"    remembered: {memory}" for memory in each["memories"]]
    _say(args, told, "\n".join(lines) or "no model was asked")
    return 0


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
    _say(args, report, text)
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
    _say(args, run, f"run {run['id']} is {run['status']}")
    return 0


def _of_run(args: argparse.Namespace, method: str, path: str, *body: Any) -> Any:
    """Ask something of the run that the id names, by itself or by its goal."""
    api = server_of(args)
    return getattr(api, method)(f"/v1/runs/{subject_of(api, args.id).run_id}/{path}", *body)


def _say(args: argparse.Namespace, answer: Any, text: str) -> None:
    print(json.dumps(answer, indent=2) if args.json else text)


def _json(text: str, option: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Invalid(f"{option} must be JSON: {error}") from error


def _change(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise Invalid(f"--change must be TASK=JSON, not {text!r}")
    return key, _json(value, f"--change {key}")


def _register_verbs(commands: Commands) -> None:
    verbs = {
        "pause": (pause, "Pause a run: what runs ends, nothing else starts.", "--now"),
        "resume": (resume, "Let a paused run go on.", ""),
        "retry": (retry, "Do again what failed or was cancelled of a run; finished work stays.", ""),
    }
    for name, (act, does, option) in verbs.items():
        examples = f"cognitionos {name} 0193a1f2-... {option}".rstrip()
        parser = _with_run(commands, name, does=does, examples=examples)
        if option:
            parser.add_argument(option, action="store_true", help="stop agents after their next step")
        parser.set_defaults(run=act)


def _register_fork(commands: Commands) -> None:
    parser = _with_run(
        commands,
        "fork",
        does="Start a new run from some point of an earlier one: what came before is reused.",
        examples="""
            cognitionos fork 0193a1f2-... --from t2
            cognitionos fork 0193a1f2-... --change 't2={"instructions": "Shorter, please."}'
            cognitionos fork 0193a1f2-... --snapshot before-review --json
        """,
    )
    parser.add_argument("--from", dest="start", metavar="TASK", help="the first task that is done again")
    parser.add_argument("--snapshot", metavar="NAME", help="start from this snapshot")
    parser.add_argument("--change", metavar="TASK=JSON", action="append", default=[], help="new input (repeatable)")
    parser.add_argument("--input", metavar="JSON", help="new input of the run")
    parser.set_defaults(run=fork)


def _register_snapshot(commands: Commands) -> None:
    parser = _with_run(
        commands,
        "snapshot",
        does="Name the present state of a run, to fork from it later.",
        examples="cognitionos snapshot 0193a1f2-... before-review",
    )
    parser.add_argument("name", help="unique in the run")
    parser.set_defaults(run=snapshot)


def _register_path(commands: Commands) -> None:
    parser = _with_run(
        commands,
        "critical-path",
        does="Show which tasks decided how long a run took, and what doing others at the same time saved.",
        examples="cognitionos critical-path 0193a1f2-... --json",
    )
    parser.set_defaults(run=critical_path)


def _register_explain(commands: Commands) -> None:
    parser = _with_run(
        commands,
        "explain",
        does="Show which model decided what in a run, why it was asked, and what was left of the budget then.",
        examples="cognitionos explain 0193a1f2-... --json",
    )
    parser.set_defaults(run=explain)


def _register_replay(commands: Commands) -> None:
    parser = _with_run(
        commands,
        "replay",
        does="Do a finished run again from its recording, without a model, and show the first difference.",
        examples="cognitionos replay 0193a1f2-... --json",
    )
    parser.set_defaults(run=replay)
    exporting = _with_run(
        commands,
        "export",
        does="Print the recording of a finished run: what a replay needs, as JSON.",
        examples="cognitionos export 0193a1f2-... > run.json",
    )
    exporting.set_defaults(run=export)


def _with_run(commands: Commands, name: str, *, does: str, examples: str) -> argparse.ArgumentParser:
    parser = add_command(commands, name, does=does, examples=examples)
    parser.add_argument("id", type=an_id, help="the run's id, or its goal's")
    add_server_arguments(parser)
    return parser
