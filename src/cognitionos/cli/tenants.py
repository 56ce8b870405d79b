"""`cognitionos tenants`: makes tenants and gives each its share of the workers, straight in the database."""

import argparse
import asyncio
import json

from cognitionos.cli.arguments import Commands, add_command, add_data_argument
from cognitionos.cli.issued_key import add_key_file_argument, check_key_file, hand_out
from cognitionos.cli.operator import find_tenant, operator_base


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "tenants",
        does="Make tenants, in the database of DATABASE_URL or of the local stack.",
        examples="""
            cognitionos tenants create acme                       # prints the key, once
            cognitionos tenants create acme --key-file acme.key   # writes it, mode 0600
            cognitionos tenants share acme --most-running 16 --weight 2
        """,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    create = actions.add_parser("create", help="a tenant, its first project and a key with every scope")
    add_key_file_argument(create)
    create.add_argument("--json", action="store_true", help='print {"tenant_id", "project_id", "api_key_id", "key"}')
    create.set_defaults(run=lambda args: asyncio.run(_create(args)), preload=preload)
    share = actions.add_parser("share", help="show or set how much of the workers a tenant may have")
    share.add_argument(
        "--most-running", type=int, metavar="TASKS", help="at once, over all workers; 0: no limit (the default)"
    )
    share.add_argument(
        "--weight", type=float, help="against other tenants that wait: twice the weight, twice the tasks (default: 1)"
    )
    share.add_argument("--json", action="store_true", help='print {"most_running", "weight"}')
    share.set_defaults(run=lambda args: asyncio.run(_share(args)))
    for each in (create, share):
        each.add_argument("name")
        add_data_argument(each)


def preload() -> None:
    """Import what making a tenant needs."""
    import cognitionos.composition.tenancy  # noqa: F401


async def _create(args: argparse.Namespace) -> int:
    from cognitionos.composition import tenancy

    check_key_file(args)
    async with operator_base(args.data) as base:
        services = tenancy.build(base)
        found = await services.key_store.find_tenant(args.name)
        if found is not None and args.key_file is not None:
            tenant_id, project_id = found  # its key was lost, or the run that made it died before writing the file
        else:
            tenant, project = await services.tenants.create(args.name)
            tenant_id, project_id = tenant.id, project.id
        issued = await services.api_keys.create_first(tenant_id, project_id, "first key")
    hand_out(args, issued.text.whole, tenant_id=tenant_id, project_id=project_id, api_key_id=issued.key.id)
    return 0


async def _share(args: argparse.Namespace) -> int:
    from cognitionos.composition import tenancy
    from cognitionos.planning.infrastructure.share_store import Share, Shares

    async with operator_base(args.data) as base:
        tenant_id, _ = await find_tenant(tenancy.build(base), args.name)
        shares = Shares(database=base.database)
        share = await shares.of(tenant_id)
        if args.most_running is not None or args.weight is not None:
            most = share.most_running if args.most_running is None else args.most_running or None
            weight = share.weight if args.weight is None else args.weight
            share = Share(most_running=most, weight=weight)
            await shares.set(tenant_id, share)
    document = {"most_running": share.most_running, "weight": share.weight}
    text = f"{args.name}: at most {share.most_running or 'any number of'} tasks at once, weight {share.weight:g}"
    print(json.dumps(document) if args.json else text)
    return 0
