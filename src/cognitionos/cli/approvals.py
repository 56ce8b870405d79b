"""`cognitionos approvals`, `approve`, `reject`, `signal`, `workflow`: what waits for people, and what is declared."""

import argparse
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cognitionos.cli.arguments import Commands, add_command, add_server_arguments, say
from cognitionos.cli.client import server_of
from cognitionos.cli.subject import an_id, subject_of
from cognitionos.cli.workflow_file import read_workflow
from cognitionos.kernel.json_text import read_json


def register(commands: Commands) -> None:
    """Add the commands."""
    _register_approvals(commands)
    for name, meaning in (("approve", "Say yes to what waits for a person."), ("reject", "Say no to it.")):
        _register_verdict(commands, name, meaning)
    _register_signal(commands)
    _register_workflow(commands)


def approvals(args: argparse.Namespace) -> int:
    """List what waits for a person."""
    query = f"?limit={args.limit}" + ("" if args.all else "&status=pending")
    page = server_of(args).get(f"/v1/approvals{query}{f'&run_id={args.run_id}' if args.run_id else ''}")
    lines = [
        f"{each['id']}  {each['status']:<9}  until {each['deadline_at'][:19]}  {_one_line(each['prompt'])}"
        for each in page["items"]
    ]
    return say(args, page, "\n".join(lines or ["nothing waits for a person"]))


def decide(args: argparse.Namespace) -> int:
    """Approve or reject."""
    body = {} if args.comment is None else {"comment": args.comment}
    approval = server_of(args).post(f"/v1/approvals/{quote(args.approval)}/{args.verdict}", body)
    return say(args, approval, f"{approval['id']} is {approval['status']}")


def signal(args: argparse.Namespace) -> int:
    """Send a signal to a run."""
    api = server_of(args)
    path = f"/v1/runs/{subject_of(api, args.run_id).run_id}/signals/{quote(args.name)}"
    sent = api.post(path, {"payload": _payload(args.payload)})
    told = f"task '{sent['task']}' goes on" if sent["delivered"] else "no task waits for it yet; it is kept"
    return say(args, sent, told)


def put_workflow(args: argparse.Namespace) -> int:
    """Declare the workflow in a YAML or JSON file."""
    workflow = server_of(args).post("/v1/workflows", read_workflow(args.file))
    told = f"{workflow['name']} version {workflow['version']}, {workflow['total_tasks']} tasks"
    return say(args, workflow, told)


def start_workflow(args: argparse.Namespace) -> int:
    """Start a run of a workflow."""
    body: dict[str, Any] = {"workflow": args.workflow, "input": _payload(args.input)}
    if args.version is not None:
        body["version"] = args.version
    run = server_of(args).post("/v1/runs", body)
    return say(args, run, f"run {run['id']} is {run['status']}")


def _payload(text: str | None) -> Any:
    """JSON if it is JSON, else the text itself."""
    if text is None:
        return None
    try:
        return read_json(text)
    except ValueError:
        return text


def _one_line(text: str) -> str:
    return " ".join(text.split())[:70]


def _register_approvals(commands: Commands) -> None:
    parser = add_command(
        commands,
        "approvals",
        does="List what waits for a person.",
        examples="""
            cognitionos approvals
            cognitionos approvals --run 0193a1f2-... --all --json
        """,
    )
    parser.add_argument("--run", dest="run_id", type=an_id, help="only of this run")
    parser.add_argument("--all", action="store_true", help="decided ones too")
    parser.add_argument("--limit", type=int, default=50, help="how many (1 to 200)")
    add_server_arguments(parser)
    parser.set_defaults(run=approvals)


def _register_verdict(commands: Commands, name: str, meaning: str) -> None:
    parser = add_command(
        commands, name, does=meaning, examples=f"cognitionos {name} 0193a1f2-... --comment 'as agreed on Monday'"
    )
    parser.add_argument("approval", type=an_id, help="the approval's id ('cognitionos approvals' lists them)")
    parser.add_argument("--comment", help="why, for those who read it later")
    add_server_arguments(parser)
    parser.set_defaults(run=decide, verdict=name)


def _register_signal(commands: Commands) -> None:
    parser = add_command(
        commands,
        "signal",
        does="Send a signal to a run: the task that waits for it goes on.",
        examples="""
            cognitionos signal 0193a1f2-... shipped
            cognitionos signal 0193a1f2-... shipped '{"parcel": 7}' --json
        """,
    )
    parser.add_argument("run_id", metavar="run", type=an_id, help="the run's id, or its goal's")
    parser.add_argument("name", help="the signal's name")
    parser.add_argument("payload", nargs="?", help="JSON, or a text: the task's output")
    add_server_arguments(parser)
    parser.set_defaults(run=signal)


def _register_workflow(commands: Commands) -> None:
    parser = add_command(
        commands,
        "workflow",
        does="Declare workflows, and run them.",
        examples="""
            cognitionos workflow put nightly.yaml
            cognitionos workflow start nightly '{"day": "2026-11-21"}'
        """,
    )
    acts = parser.add_subparsers(metavar="ACT", required=True)
    put = add_command(
        acts,
        "put",
        does="Declare the workflow in a YAML file.",
        examples="cognitionos workflow put nightly.yaml --json",
    )
    put.add_argument("file", type=Path, help="YAML or JSON with 'name' and 'tasks' ('-': standard input)")
    add_server_arguments(put)
    put.set_defaults(run=put_workflow)
    start = add_command(
        acts, "start", does="Start a run of a workflow.", examples="cognitionos workflow start nightly --version 2"
    )
    start.add_argument("workflow", help="its name")
    start.add_argument("input", nargs="?", help="JSON, or a text: the run's input")
    start.add_argument("--version", type=int, help="which one (default: the latest)")
    add_server_arguments(start)
    start.set_defaults(run=start_workflow)
