"""`cognitionos budgets`: what calls may cost."""

import argparse
import json
from typing import Any
from urllib.parse import quote, urlencode

from cognitionos.cli.arguments import Commands, add_command, add_server_arguments
from cognitionos.cli.client import server_of
from cognitionos.cli.columns import columns

_PERIODS = ("total", "day", "week", "month")
_HEADS = ("id", "subject", "period", "resets at", "limit", "spent", "held", "left")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "budgets",
        does="Limit what calls may cost, and compare the counters with the ledger.",
        examples="""
            cognitionos budgets list
            cognitionos budgets open user:ada 5.00 --period day --soft 0.8 --cheaper openai/gpt-4o-mini
            cognitionos budgets alerts
            cognitionos budgets recount
            cognitionos budgets recount --correct
        """,
    )
    acts = parser.add_subparsers(metavar="ACT", required=True)
    listing = _act(acts, "list", does="Show every budget in its current period.", run=show_all)
    listing.add_argument("--subject", help="of this one only, such as api_key:ID")
    opening = _act(
        acts,
        "open",
        does="Open the budget of a subject, or change it.",
        run=open_budget,
        on="project:ID 20 --period month",
    )
    opening.add_argument(
        "subject", help="tenant, project, api_key, user, goal, workflow, run, task or agent_run, with ':' and its id"
    )
    opening.add_argument("limit", metavar="USD")
    opening.add_argument("--period", choices=_PERIODS, default="total", help="default: %(default)s")
    opening.add_argument("--soft", type=float, metavar="SHARE", help="from here on a cheaper model answers (0.8)")
    opening.add_argument("--halt", type=float, metavar="SHARE", help="from here on runs halt unless critical (0.95)")
    opening.add_argument("--cheaper", metavar="MODEL", help="the model that answers from the soft share on")
    opening.add_argument("--time-zone", help="by whose days, weeks and months")
    removing = _act(acts, "remove", does="Take a budget away; the ledger stays.", run=remove, on="BUDGET")
    removing.add_argument("budget", help="its id")
    _act(acts, "alerts", does="Show which shares of limits were reached.", run=alerts)
    seen = _act(acts, "ack", does="Say that an alert was seen.", run=acknowledge, on="ALERT --note 'raised'")
    seen.add_argument("alert", help="its id")
    seen.add_argument("--note", help="what was done")
    counting = _act(acts, "recount", does="Compare every counter with the ledger, to the nano-dollar.", run=recount)
    counting.add_argument("--correct", action="store_true", help="set the counters to the ledger's sums")


def show_all(args: argparse.Namespace) -> int:
    """List the budgets."""
    asked = {"subject": args.subject} if args.subject else {}
    server = server_of(args)
    found = server.get(f"/v1/budgets?{urlencode(asked)}")
    while found["next_cursor"]:
        more = server.get(f"/v1/budgets?{urlencode(asked | {'cursor': found['next_cursor']})}")
        found = {"budgets": found["budgets"] + more["budgets"], "next_cursor": more["next_cursor"]}
    rows = [_row(each) for each in found["budgets"]]
    _print(args, found, columns(_HEADS, rows, right=4) if rows else "no budget is set: calls may cost anything")
    return 0


def open_budget(args: argparse.Namespace) -> int:
    """Open a budget."""
    given = {"soft": args.soft, "halt": args.halt, "downgrade_to": args.cheaper, "time_zone": args.time_zone}
    body: dict[str, Any] = {"subject": args.subject, "limit_usd": args.limit, "period": args.period}
    body |= {name: value for name, value in given.items() if value is not None}
    budget = server_of(args).post("/v1/budgets", body)
    _print(
        args, budget, f"{budget['subject']}: {budget['left_usd']} USD left of {budget['limit_usd']} ({budget['id']})"
    )
    return 0


def remove(args: argparse.Namespace) -> int:
    """Remove a budget."""
    server_of(args).delete(f"/v1/budgets/{quote(args.budget, safe='')}")
    _print(args, {"removed": args.budget}, f"{args.budget} is gone")
    return 0


def alerts(args: argparse.Namespace) -> int:
    """List the alerts."""
    page = server_of(args).get("/v1/budgets/alerts?limit=200")
    lines = [
        f"{each['id']}  {each['subject']} ({each['period']})  {each['threshold']}: {each['spent_usd']} USD spent"
        f"{'' if each['acknowledged_at'] else '  (not seen yet)'}"
        for each in page["items"]
    ]
    _print(args, page, "\n".join(lines or ["no limit was come near to"]))
    return 0


def acknowledge(args: argparse.Namespace) -> int:
    """Acknowledge an alert."""
    alert = server_of(args).post(f"/v1/budgets/alerts/{quote(args.alert, safe='')}/ack", {"note": args.note})
    _print(args, alert, f"{alert['id']} was seen by {alert['acknowledged_by']}")
    return 0


def recount(args: argparse.Namespace) -> int:
    """Compare the counters with the ledger: status 1 where one is wrong and stays so."""
    found = server_of(args).post("/v1/budgets/recount", {"correct": args.correct})
    lines = [
        f"{each['subject']} ({each['period']}): spent {each['spent_usd']}, by the ledger {each['ledger_spent_usd']}; "
        f"held {each['held_usd']}, by the holds {each['holds_usd']}; calls {each['calls']}, {each['ledger_calls']}"
        for each in found["miscounts"]
    ]
    end = "they are set right" if found["corrected"] else "--correct sets them right"
    _print(args, found, "\n".join([*lines, end]) if lines else "every counter is what the ledger says")
    return 1 if lines and not found["corrected"] else 0


def _act(acts: Commands, name: str, *, does: str, run: object, on: str = "") -> argparse.ArgumentParser:
    parser = add_command(acts, name, does=does, examples=f"cognitionos budgets {name} {on}".rstrip())
    add_server_arguments(parser)
    parser.set_defaults(run=run)
    return parser


def _row(budget: dict[str, Any]) -> list[str]:
    names = ("id", "subject", "period", "resets_at", "limit_usd", "spent_usd", "held_usd", "left_usd")
    return [str(budget[name] or "-") for name in names]


def _print(args: argparse.Namespace, document: Any, text: str) -> None:
    print(json.dumps(document, indent=2) if args.json else text)
