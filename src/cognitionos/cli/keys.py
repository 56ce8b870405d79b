"""`cognitionos keys`: the operator's way to a tenant's keys, straight to the database."""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from cognitionos.cli.arguments import Commands, add_command, add_data_argument
from cognitionos.cli.issued_key import add_key_file_argument, check_key_file, hand_out
from cognitionos.cli.operator import find_tenant, operator_base
from cognitionos.kernel.principal import Permission, Principal

if TYPE_CHECKING:
    from cognitionos.composition.tenancy import TenancyServices

Act = Callable[["TenancyServices", Principal, argparse.Namespace], Awaitable[int]]

MOST_LISTED = 1000


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "keys",
        does="Make, list and revoke a tenant's API keys, in the database of DATABASE_URL or of the local stack.",
        examples="""
            cognitionos keys create ci --tenant acme --scope goals:read --scope goals:write
            cognitionos keys list --tenant acme --json
            cognitionos keys revoke 0197... --tenant acme
        """,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    create = actions.add_parser("create", help="a key of the tenant's first project")
    create.add_argument("name")
    create.add_argument("--scope", action="append", type=Permission, metavar="SCOPE", help="repeat; default: all")
    create.add_argument("--expires-at", type=_moment, metavar="TIME", help="ISO 8601; UTC without an offset")
    add_key_file_argument(create)
    create.set_defaults(act=_create_key)
    listing = actions.add_parser("list", help="every key, newest first, without secrets")
    listing.set_defaults(act=_list_keys)
    revoke = actions.add_parser("revoke", help="end a key; takes effect within 5 seconds everywhere")
    revoke.add_argument("id", type=UUID)
    revoke.set_defaults(act=_revoke_key)
    for each in (create, listing, revoke):
        add_data_argument(each)
        each.add_argument("--tenant", required=True, metavar="NAME")
        each.add_argument("--json", action="store_true", help="print JSON")
        each.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Open the database, do the one thing for the tenant, close it."""
    return asyncio.run(_run(args.act, args))


async def _run(act: Act, args: argparse.Namespace) -> int:
    from cognitionos.composition import tenancy

    async with operator_base(args.data) as base:
        services = tenancy.build(base)
        tenant_id, project_id = await find_tenant(services, args.tenant)
        # whoever can reach the database with our secret may act for any tenant
        may_all = frozenset(Permission)
        operator = Principal(tenant_id=tenant_id, project_id=project_id, api_key_id=None, permissions=may_all)
        return await act(services, operator, args)


async def _create_key(services: "TenancyServices", who: Principal, args: argparse.Namespace) -> int:
    check_key_file(args)
    scopes = frozenset(args.scope or Permission)
    issued = await services.api_keys.create(who, args.name, scopes=scopes, expires_at=args.expires_at)
    hand_out(args, issued.text.whole, tenant_id=who.tenant_id, project_id=who.project_id, api_key_id=issued.key.id)
    return 0


async def _list_keys(services: "TenancyServices", who: Principal, args: argparse.Namespace) -> int:
    import msgspec

    rows = await services.queries.keys(who.tenant_id, limit=MOST_LISTED, after=None)
    if args.json:
        print(msgspec.json.encode(rows).decode())
        return 0
    for row in rows:
        state = f"revoked {row.revoked_at:%F %T}" if row.revoked_at else f"used {row.last_used_at or 'never'}"
        print(f"{row.id}  {row.prefix}...  {row.name}  {state}  {' '.join(row.scopes)}")
    return 0


async def _revoke_key(services: "TenancyServices", who: Principal, args: argparse.Namespace) -> int:
    await services.api_keys.revoke(who, args.id)
    print(json.dumps({"id": str(args.id), "revoked": True}) if args.json else f"{args.id} is revoked")
    return 0


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
