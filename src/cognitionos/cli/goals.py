"""`cognitionos run`, `follow`, `runs`, `inspect`, `cancel`: goals from the terminal."""

import argparse
import json
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cognitionos.cli.arguments import Commands, add_command, add_server_arguments, default_data_dir
from cognitionos.cli.client import Api, attachments, find_server, server_of
from cognitionos.cli.subject import Subject, an_id, subject_of
from cognitionos.kernel.errors import Unavailable
from cognitionos.platform.embedded.child import die_with_parent

if TYPE_CHECKING:
    from cognitionos.cli.watching import Watcher

FINAL = {"succeeded", "failed", "cancelled"}


class StackDidNotStart(Unavailable):
    """`cognitionos up`, started as our child, ended before it was ready."""


def register(commands: Commands) -> None:
    """Add the commands."""
    _register_run(commands)
    _register_follow(commands)
    _register_runs(commands)
    _register_inspect(commands)
    _register_cancel(commands)


def run(args: argparse.Namespace) -> int:
    """Submit a goal and follow it to its end; status 0 when it succeeded."""
    from cognitionos.cli.watching import Watcher

    body: dict[str, Any] = {"statement": args.statement, "inputs": attachments(args.statement, args.attach)}
    if args.budget is not None:
        body["budget_usd"] = args.budget
    if args.replans is not None:
        body["replans"] = args.replans
    if args.plan_tasks is not None:
        body["plan_tasks"] = args.plan_tasks
    if args.approve_plan:
        body["approve_plan"] = True
    watcher = Watcher(as_json=args.json)
    api = find_server(url=args.url, key=args.api_key, data_dir=args.data)
    if api is not None:
        return _submit(api, body, watcher, args, stays=True)
    with _own_stack(args, say=watcher.note) as api:
        return _submit(api, body, watcher, args, stays=False)


def follow(args: argparse.Namespace) -> int:
    """Follow a goal, or a workflow's run, to its end, from its beginning."""
    from cognitionos.cli.watching import Watcher

    api = server_of(args)
    look = _look(args, args.id, stays=True)
    return _follow(api, subject_of(api, args.id), Watcher(as_json=args.json), out=args.out, look=look)


def runs(args: argparse.Namespace) -> int:
    """List the newest goals, or runs of every kind."""
    page = server_of(args).get(f"/v1/{'runs' if args.all else 'goals'}?limit={args.limit}")
    if args.json:
        print(json.dumps(page, indent=2))
        return 0
    for each in page["items"]:
        told = each["title"] if "title" in each else each["workflow"] or f"goal {each['goal_id']}"
        print(f"{each['id']}  {each['status']:<9}  {each['created_at'][:19]}  {' '.join(told.split())[:70]}")
    if not page["items"]:
        print("nothing yet; submit a goal with: cognitionos run 'What is to be done'")
    return 0


def inspect(args: argparse.Namespace) -> int:
    """Print everything known about a goal or a run: the run, its tasks, steps and files, and its goal, as JSON."""
    api = server_of(args)
    subject = subject_of(api, args.id)
    run_id, goal = subject.run_id, subject.goal_id and api.get(f"/v1/goals/{subject.goal_id}")
    tasks = [_whole(api, run_id, task) for task in _all_pages(api, f"/v1/runs/{run_id}/tasks")]
    steps = _all_pages(api, f"/v1/runs/{run_id}/steps")
    found = {
        "goal": goal,
        "run": api.get(f"/v1/runs/{run_id}"),
        "critical_path": api.get(f"/v1/runs/{run_id}/critical-path"),
        "tasks": tasks,
        "steps": steps,
        "files": _all_pages(api, f"/v1/runs/{run_id}/files"),
    }
    print(json.dumps(found, indent=2))
    return 0


def cancel(args: argparse.Namespace) -> int:
    """Cancel a goal or a run."""
    api = server_of(args)
    subject = subject_of(api, args.id)
    kind, its_id = ("goal", subject.goal_id) if subject.goal_id else ("run", subject.run_id)
    ended = api.post(f"/v1/{kind}s/{its_id}/cancel", {})
    print(json.dumps(ended) if args.json else f"{kind} {its_id} is {ended['status']}")
    return 0


def _submit(api: Api, body: dict[str, Any], watcher: "Watcher", args: argparse.Namespace, *, stays: bool) -> int:
    """`stays` False: the stack ends with us, so the files are kept beside its data."""
    watcher.server(api)
    goal = api.post("/v1/goals", body)
    watcher.submitted(goal, body["inputs"])
    out = args.out if stays or args.out else args.data / "results" / goal["id"]
    subject = Subject(run_id=goal["run_id"], goal_id=goal["id"])
    return _follow(api, subject, watcher, out=out, look=_look(args, goal["id"], stays=stays))


def _look(args: argparse.Namespace, goal_id: str, *, stays: bool) -> list[str]:
    """How to see everything about a goal afterwards, with this command as it can be typed here."""
    program = _program()
    there = "" if args.url or args.data == default_data_dir() else f" --data {shlex.quote(str(args.data))}"
    inspect = f"{program} inspect {goal_id}{there}"
    if stays:
        return [f"everything about it: {inspect}"]
    return [f"everything about it: keep '{program} up{there}' running in another terminal, then", f"  {inspect}"]


def _program() -> str:
    """This command as it can be typed here."""
    path = Path(sys.argv[0])
    if path.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m cognitionos"
    if shutil.which(path.name) == str(path):
        return path.name
    near = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return shlex.quote(str(near))


def _follow(api: Api, subject: Subject, watcher: "Watcher", *, out: Path | None, look: list[str]) -> int:
    after: str | None = None
    path = f"/v1/goals/{subject.goal_id}" if subject.goal_id else f"/v1/runs/{subject.run_id}"
    while True:
        try:
            for event in api.events(f"/v1/runs/{subject.run_id}/events", after):
                after = event.id or after
                watcher.event(event)
        except TimeoutError:
            pass  # a stream that went silent is taken up again where it ended
        ended = api.get(path)
        if ended["status"] in FINAL:
            break
    if subject.goal_id:
        watcher.finished(ended, _save(api, ended, out), look)
    else:
        watcher.run_finished(ended, look)
    return 0 if ended["status"] == "succeeded" else 1


def _save(api: Api, goal: dict[str, Any], out: Path | None) -> list[Path]:
    """The result's artifacts, written below `out` if one was asked for."""
    result = goal.get("result")
    if out is None or not result:
        return []
    out.mkdir(parents=True, exist_ok=True)
    saved = []
    for artifact in result["artifacts"]:
        target = out / Path(artifact["name"]).name
        target.write_bytes(api.download(artifact["href"]))
        saved.append(target)
    return saved


def _whole(api: Api, run_id: str, task: dict[str, Any]) -> dict[str, Any]:
    """The task with its output, which lists leave out where it is large."""
    whole: dict[str, Any] = api.get(f"/v1/runs/{run_id}/tasks/{quote(task['key'])}") if task["output_omitted"] else task
    return whole


def _all_pages(api: Api, path: str) -> list[Any]:
    items: list[Any] = []
    cursor = ""
    while True:
        page = api.get(f"{path}?limit=200{cursor}")
        items += page["items"]
        if not page.get("next_cursor"):
            return items
        cursor = f"&cursor={page['next_cursor']}"


@contextmanager
def _own_stack(args: argparse.Namespace, say: Callable[[str], None]) -> Iterator[Api]:
    """A stack of our own for as long as the block runs."""
    say(f"starting PostgreSQL, Valkey, API and worker in {args.data} ...")
    command = [sys.executable, "-m", "cognitionos", "up", "--data", str(args.data), "--port", str(args.port), "--json"]
    stack = subprocess.Popen(  # noqa: S603 - our own command
        command,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C ends the goal's display first, then the stack by our hand
        preexec_fn=partial(die_with_parent, signal.SIGTERM),  # noqa: PLW1509 - this process has one thread
    )
    try:
        line = stack.stdout.readline() if stack.stdout else ""
        if not line:
            raise StackDidNotStart("the stack did not start; 'cognitionos doctor' says what is missing")
        started = json.loads(line)
        yield Api(started["url"], started["api_key"])
    finally:
        stack.terminate()
        stack.wait()


def _register_run(commands: Commands) -> None:
    parser = add_command(
        commands,
        "run",
        does="Submit a goal, show its plan and progress, print the result and what it cost.",
        examples="""
            cognitionos run "Compare the suppliers in docs/examples/suppliers.csv and recommend one"
            cognitionos run "Summarise the report" --attach report.pdf --budget 0.50 --out results/
            cognitionos run "Compare the offers in offers.csv" --approve-plan --replans 2
            cognitionos run "..." --url https://agents.example.com --api-key cog_... --json
        """,
    )
    parser.add_argument("statement", help="what is to be done; a path in it that exists is attached")
    parser.add_argument("--attach", type=Path, action="append", default=[], help="a file to attach (repeatable)")
    parser.add_argument("--budget", help="the most it may cost, in dollars")
    parser.add_argument("--approve-plan", action="store_true", help="wait until somebody has approved the plan")
    parser.add_argument("--replans", type=int, help="how often a failed task is planned anew (default: once)")
    parser.add_argument("--plan-tasks", type=int, help="how many tasks a plan may have (default: 12)")
    parser.add_argument("--port", type=int, default=0, help="port of the stack started here (default: any free one)")
    add_server_arguments(parser)
    _add_out(parser)
    parser.set_defaults(run=run)


def _register_follow(commands: Commands) -> None:
    parser = add_command(
        commands,
        "follow",
        does="Follow a goal, or a workflow's run, from its beginning to its end.",
        examples="cognitionos follow 0193a1f2-...",
    )
    parser.add_argument("id", type=an_id, help="the goal's or the run's id")
    add_server_arguments(parser)
    _add_out(parser)
    parser.set_defaults(run=follow)


def _register_runs(commands: Commands) -> None:
    parser = add_command(
        commands,
        "runs",
        does="List the newest goals, or with --all every run.",
        examples="""
            cognitionos runs --limit 5 --json
            cognitionos runs --all
        """,
    )
    parser.add_argument("--all", action="store_true", help="runs of workflows too, with the runs' own ids")
    parser.add_argument("--limit", type=int, default=20, help="how many (1 to 200)")
    add_server_arguments(parser)
    parser.set_defaults(run=runs)


def _register_inspect(commands: Commands) -> None:
    parser = add_command(
        commands,
        "inspect",
        does="Print a goal or a run with its tasks and agent steps as JSON.",
        examples="cognitionos inspect 0193a1f2-... | less",
    )
    parser.add_argument("id", type=an_id, help="the goal's or the run's id")
    add_server_arguments(parser)
    parser.set_defaults(run=inspect)


def _register_cancel(commands: Commands) -> None:
    parser = add_command(commands, "cancel", does="Cancel a goal or a run.", examples="cognitionos cancel 0193a1f2-...")
    parser.add_argument("id", type=an_id, help="the goal's or the run's id")
    add_server_arguments(parser)
    parser.set_defaults(run=cancel)


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        help="directory to save the result's artifacts in (default, when 'run' starts a stack: DIR/results/GOAL)",
    )
