"""`cognitionos tenants share`: how much of the workers a tenant may have, straight to the database."""

import argparse
import asyncio
import json

from cognitionos.cli.arguments import Commands, add_data_argument
from cognitionos.cli.operator import operator_base


def register(actions: Commands) -> None:
    """Add the action to those of `tenants`."""
    parser = actions.add_parser("share", help="show or set how much of the workers a tenant may have")
    parser.add_argument("name")
    parser.add_argument(
        "--most-running", type=int, metavar="TASKS", help="at once, over all workers; 0: no limit (the default)"
    )
    parser.add_argument(
        "--weight", type=float, help="against other tenants that wait: twice the weight, twice the tasks (default: 1)"
    )
    parser.add_argument("--json", action="store_true", help='print {"most_running", "weight"}')
    add_data_argument(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Set what is given, and print what holds."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    from cognitionos.cli.keys import NoSuchTenant
    from cognitionos.composition import tenancy
    from cognitionos.planning.infrastructure.share_store import Share, Shares

    async with operator_base(args.data) as base:
        found = await tenancy.build(base).key_store.find_tenant(args.name)
        if found is None:
            raise NoSuchTenant(f"There is no tenant '{args.name}'; 'cognitionos tenants create {args.name}' makes it.")
        shares = Shares(database=base.database)
        share = await shares.of(found[0])
        if args.most_running is not None or args.weight is not None:
            most = share.most_running if args.most_running is None else args.most_running or None
            weight = share.weight if args.weight is None else args.weight
            share = Share(most_running=most, weight=weight)
            await shares.set(found[0], share)
    document = {"most_running": share.most_running, "weight": share.weight}
    text = f"{args.name}: at most {share.most_running or 'any number of'} tasks at once, weight {share.weight:g}"
    print(json.dumps(document) if args.json else text)
    return 0
