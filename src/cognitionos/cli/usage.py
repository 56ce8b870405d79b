"""`cognitionos usage`: what was used, and what it cost."""

import argparse
import json
import sys
from typing import Any
from urllib.parse import urlencode

from cognitionos.cli.arguments import Commands, add_command, add_server_arguments
from cognitionos.cli.client import server_of
from cognitionos.cli.columns import columns
from cognitionos.kernel.errors import Invalid

_FILTERS = (
    *("kind", "model", "provider", "api_key", "user", "project", "goal", "workflow", "run", "task", "agent_run"),
    *("outcome", "cache"),
)
_HEADS = ("calls", "cached", "failed", "tokens in", "tokens out", "cost usd", "saved usd")


class NotAFilter(Invalid):
    """A filter that cannot be read."""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "usage",
        does="Sum up what was used and what it cost, or export every call.",
        examples="""
            cognitionos usage
            cognitionos usage --group-by day,model --time-zone Europe/Berlin --from 2026-11-01
            cognitionos usage --group-by task --where run=RUN --json
            cognitionos usage --csv --from 2026-11-01 --to 2026-12-01 > november.csv
        """,
    )
    parser.add_argument(
        "--group-by",
        default="model",
        metavar="COLUMNS",
        help="up to four columns of the ledger with commas between, also hour, day, week, month (default: %(default)s)",
    )
    parser.add_argument("--from", dest="from_", metavar="TIME", help="settled at or after, such as 2026-11-01")
    parser.add_argument("--to", metavar="TIME", help="settled before")
    parser.add_argument("--time-zone", default="UTC", help="of hours, days, weeks and months (default: %(default)s)")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help=f"only calls of this; may be said several times ({', '.join(_FILTERS)})",
    )
    parser.add_argument("--csv", action="store_true", help="every call with all its columns, as CSV")
    add_server_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the sums, or the calls."""
    server, which = server_of(args), dict(_filter(each) for each in args.where)
    which |= {name: _time(text) for name, text in (("from", args.from_), ("to", args.to)) if text is not None}
    if args.csv:
        sys.stdout.write(server.download(f"/v1/usage.csv?{urlencode(which)}").decode())
        return 0
    asked = which | {"group_by": args.group_by, "timezone": args.time_zone, "limit": 200}
    usage = server.get(f"/v1/usage?{urlencode(asked)}")
    cursor = usage["next_cursor"]
    while cursor:
        more = server.get(f"/v1/usage?{urlencode(asked | {'cursor': cursor})}")
        usage["groups"] += more["groups"]
        cursor = more["next_cursor"]
    usage["next_cursor"] = None
    print(json.dumps(usage, indent=2) if args.json else _table(usage))
    return 0


def _filter(given: str) -> tuple[str, str]:
    name, _, value = given.partition("=")
    name = name.replace("-", "_")
    if name not in _FILTERS or not value:
        raise NotAFilter(f"--where takes COLUMN=VALUE, with a column of {', '.join(_FILTERS)}; not '{given}'")
    return name, value


def _time(text: str) -> str:
    """A day alone is its first moment in UTC."""
    return f"{text}T00:00:00Z" if len(text) == len("2026-11-01") else text


def _table(usage: dict[str, Any]) -> str:
    names = usage["group_by"].split(",")
    rows = [[*(group["keys"][name] or "-" for name in names), *_sums(group)] for group in usage["groups"]]
    total = f"{usage['total_calls']} calls, {usage['total_usd']} USD"
    return columns((*names, *_HEADS), rows, right=len(_HEADS)) + "\n" + total if rows else "nothing was used"


def _sums(group: dict[str, Any]) -> list[str]:
    names = ("calls", "cached_calls", "failed_calls", "prompt_tokens", "completion_tokens", "cost_usd", "saved_usd")
    return [str(group[name]) for name in names]
