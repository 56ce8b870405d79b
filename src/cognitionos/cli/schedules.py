"""`cognitionos schedules`: what starts by itself."""

import argparse
from typing import Any

from cognitionos.cli.arguments import Commands, add_command, add_server_arguments, say
from cognitionos.cli.client import server_of
from cognitionos.kernel.errors import Invalid, NotFound
from cognitionos.kernel.json_text import read_json


class NoSuchSchedule(NotFound):
    """No schedule has that name or id."""


class NotJson(Invalid):
    """A run's input is not JSON."""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "schedules",
        does="Start workflows and goals by the clock.",
        examples="""
            cognitionos schedules create nightly --cron '0 2 * * *' --time-zone Europe/Berlin --workflow report
            cognitionos schedules create hourly --every 3600 --goal 'Summarize the new tickets' --budget 0.50
            cognitionos schedules list
            cognitionos schedules times nightly
            cognitionos schedules pause nightly
        """,
    )
    acts = parser.add_subparsers(metavar="ACT", required=True)
    _register_create(acts)
    listing = add_command(acts, "list", does="Show every schedule.", examples="cognitionos schedules list --json")
    add_server_arguments(listing)
    listing.set_defaults(run=show_all)
    for act, does in (
        ("show", "Show one, with its next times."),
        ("times", "Show the times that came, and what became of them."),
        ("pause", "Let it fire no more."),
        ("resume", "Let it fire again, from its next time on."),
        ("trigger", "Start its run now."),
        ("delete", "Forget it; runs that it started go on."),
    ):
        one = add_command(acts, act, does=does, examples=f"cognitionos schedules {act} nightly")
        one.add_argument("schedule", help="its name or id")
        add_server_arguments(one)
        one.set_defaults(run=_ACTS[act])


def create(args: argparse.Namespace) -> int:
    """Create a schedule."""
    body: dict[str, Any] = {
        "name": args.name,
        "cron": args.cron,
        "every_s": args.every,
        "time_zone": args.time_zone,
        "catch_up": args.catch_up,
        "overlap": args.overlap,
    }
    if args.goal is not None:
        body["goal"] = {"statement": args.goal, "budget_usd": args.budget, "approve_plan": args.approve_plan}
    else:
        body["workflow"] = {"name": args.workflow, "version": args.version, "input": _input(args.input)}
    schedule = server_of(args).post("/v1/schedules", body)
    return say(args, schedule, f"{schedule['name']} starts next at {schedule['next_at']}")


def show_all(args: argparse.Namespace) -> int:
    """List the schedules."""
    page = server_of(args).get("/v1/schedules?limit=200")
    lines = [_line(each) for each in page["items"]] or ["nothing starts by itself"]
    return say(args, page, "\n".join(lines))


def show(args: argparse.Namespace) -> int:
    """Show one schedule."""
    schedule = _found(args)
    return say(args, schedule, "\n".join([_line(schedule), *(f"  {time}" for time in schedule["upcoming"])]))


def times(args: argparse.Namespace) -> int:
    """Show what became of a schedule's times."""
    page = server_of(args).get(f"{_found(args)['href']}/times?limit=50")
    lines = [
        f"{each['scheduled_at']}  {each['outcome']:<8}  {each['run_id'] or each['detail'] or ''}"
        for each in page["items"]
    ]
    return say(args, page, "\n".join(lines or ["no time has come yet"]))


def pause(args: argparse.Namespace) -> int:
    """Pause a schedule."""
    return _set_paused(args, is_paused=True)


def resume(args: argparse.Namespace) -> int:
    """Resume a schedule."""
    return _set_paused(args, is_paused=False)


def trigger(args: argparse.Namespace) -> int:
    """Start a schedule's run now."""
    started = server_of(args).post(f"{_found(args)['href']}/trigger", {})
    return say(args, started, f"run {started['run_id']} has started")


def delete(args: argparse.Namespace) -> int:
    """Delete a schedule."""
    schedule = _found(args)
    server_of(args).delete(schedule["href"])
    return say(args, {"deleted": schedule["id"]}, f"{schedule['name']} is gone")


_ACTS = {"show": show, "times": times, "pause": pause, "resume": resume, "trigger": trigger, "delete": delete}


def _register_create(acts: Commands) -> None:
    parser = add_command(
        acts,
        "create",
        does="Create a schedule of a workflow or a goal.",
        examples="""
            cognitionos schedules create nightly --cron '0 2 * * *' --workflow report --input '{"depth": 3}'
            cognitionos schedules create hourly --every 3600 --goal 'Summarize the new tickets'
        """,
    )
    parser.add_argument("name")
    when = parser.add_mutually_exclusive_group(required=True)
    when.add_argument("--cron", metavar="EXPRESSION", help="five fields, from minute to day of week")
    when.add_argument("--every", type=float, metavar="SECONDS", help="an interval")
    parser.add_argument("--time-zone", default="UTC", help="of the cron expression (default: %(default)s)")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--workflow", help="name of the workflow to run")
    what.add_argument("--goal", help="statement of the goal to submit")
    parser.add_argument("--version", type=int, help="of the workflow (default: the latest then)")
    parser.add_argument("--input", metavar="JSON", help="of the workflow's run")
    parser.add_argument("--budget", metavar="USD", help="of the goal")
    parser.add_argument("--approve-plan", action="store_true", help="of the goal: each of its plans waits for a person")
    parser.add_argument("--catch-up", choices=("skip", "latest", "all"), default="latest", help="default: %(default)s")
    parser.add_argument(
        "--overlap", choices=("allow", "skip", "queue", "cancel"), default="skip", help="default: %(default)s"
    )
    add_server_arguments(parser)
    parser.set_defaults(run=create)


def _found(args: argparse.Namespace) -> dict[str, Any]:
    for each in server_of(args).get("/v1/schedules?limit=200")["items"]:
        if args.schedule in (each["name"], each["id"]):
            found: dict[str, Any] = each
            return found
    raise NoSuchSchedule(f"there is no schedule '{args.schedule}'; 'cognitionos schedules list' shows them")


def _set_paused(args: argparse.Namespace, *, is_paused: bool) -> int:
    schedule = server_of(args).patch(_found(args)["href"], {"paused": is_paused})
    return say(args, schedule, f"{schedule['name']} is paused" if is_paused else f"next at {schedule['next_at']}")


def _input(text: str | None) -> Any:
    try:
        return None if text is None else read_json(text)
    except ValueError as error:
        raise NotJson(f"--input is not JSON: {error}") from error


def _line(schedule: dict[str, Any]) -> str:
    when = schedule["cron"] or f"every {schedule['every_s']:g} s"
    what = schedule["workflow"]["name"] if schedule["workflow"] else schedule["goal"]["statement"]
    state = "paused" if schedule["paused"] else f"next {schedule['next_at']}"
    return f"{schedule['name']}  {when} {schedule['time_zone']}  {state}  {what}"
