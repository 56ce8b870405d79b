"""`cognitionos workers`, `dead-letters`: what the operator looks at, straight from Redis and the database.

Each opens just that one: wiring the platform takes four times as long.
"""

import argparse
import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

from cognitionos.cli.arguments import Commands, add_command, add_data_argument
from cognitionos.cli.operator import operator_settings
from cognitionos.kernel.errors import Unavailable


class WorkersUnknown(Unavailable):
    """Redis, where workers say that they live, does not answer."""


def register(commands: Commands) -> None:
    """Add both commands."""
    workers = add_command(
        commands,
        "workers",
        does="Show which workers live; one that dies is gone from here within its lease.",
        examples="cognitionos workers --json",
    )
    workers.set_defaults(run=lambda args: asyncio.run(_workers(args)))
    letters = add_command(
        commands,
        "dead-letters",
        does="Show what could not be delivered to a part of the product in twelve attempts, or try it again.",
        examples="""
            cognitionos dead-letters
            cognitionos dead-letters --retry 0193a1f2-...
            cognitionos dead-letters --retry-all
        """,
    )
    letters.add_argument("--limit", type=int, default=50, help="how many are shown (default: %(default)s)")
    again = letters.add_mutually_exclusive_group()
    again.add_argument("--retry", type=UUID, nargs="+", metavar="ID", help="try these again")
    again.add_argument("--retry-all", action="store_true", help="try every one again")
    letters.set_defaults(run=lambda args: asyncio.run(_dead_letters(args)))
    for each in (workers, letters):
        add_data_argument(each)
        each.add_argument("--json", action="store_true", help="machine-readable output: one JSON document")


async def _workers(args: argparse.Namespace) -> int:
    from cognitionos.platform.presence import living_workers
    from cognitionos.platform.redis import REDIS_ERRORS, open_redis

    redis = open_redis(operator_settings(args.data).redis_url.get_secret_value())
    try:
        found = await living_workers(redis)
    except REDIS_ERRORS as error:
        raise WorkersUnknown(f"Redis does not answer ({error}); workers work on without it.") from error
    finally:
        await redis.aclose()
    lines = [
        f"{each.id}  {each.host} {each.pid}  {each.version}  {each.slots} slots  since {_time(each.started_at)}"
        for each in found
    ]
    _say(args, found, lines or ["no worker lives; start one with 'cognitionos work'"])
    return 0


async def _dead_letters(args: argparse.Namespace) -> int:
    from cognitionos.platform.database import Database
    from cognitionos.platform.dead_letters import dead_letters, revive

    database = Database(operator_settings(args.data).database_url.get_secret_value(), pool_size=1)
    await database.open()
    try:
        if args.retry or args.retry_all:
            revived = await revive(database, args.retry)
            _say(args, {"retried": revived}, [f"{revived} will be tried again within seconds"])
            return 0
        found = await dead_letters(database, limit=args.limit)
    finally:
        await database.close()
    lines = [
        f"{each.id}  {_time(each.dead_at)}  {each.event} for {each.subscriber}, tenant {each.tenant_id}: {each.error}"
        for each in found
    ]
    _say(args, found, lines or ["everything was delivered"])
    return 0


def _say(args: argparse.Namespace, document: Any, lines: list[str]) -> None:
    import msgspec

    print(msgspec.json.encode(document).decode() if args.json else "\n".join(lines))


def _time(moment: datetime) -> str:
    return f"{moment:%F %T}"
