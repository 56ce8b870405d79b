"""`cognitionos tenants` and `cognitionos keys`: the operator's way to tenants and keys, straight to the database."""

import argparse
import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from cognitionos.cli import shares
from cognitionos.cli.arguments import Commands, add_command, add_data_argument
from cognitionos.cli.operator import operator_base
from cognitionos.kernel.errors import Conflict, NotFound
from cognitionos.kernel.principal import Permission, Principal

if TYPE_CHECKING:
    from cognitionos.composition.tenancy import TenancyServices

MOST_LISTED = 1000


class NoSuchTenant(NotFound):
    """No tenant has that name."""


class KeyFileExists(Conflict):
    """The file for the key holds something already."""


def register(commands: Commands) -> None:
    """Add both commands."""
    _register_tenants(commands)
    _register_keys(commands)


def preload() -> None:
    """Import what the commands will need."""
    import cognitionos.composition.tenancy  # noqa: F401


def run(args: argparse.Namespace) -> int:
    """Open the database, do the one thing, close it."""
    return asyncio.run(_run(args.act, args))


def _register_tenants(commands: Commands) -> None:
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
    shares.register(actions)
    create = actions.add_parser("create", help="a tenant, its first project and a key with every scope")
    create.add_argument("name")
    create.add_argument("--key-file", type=Path, metavar="PATH", help="write the key here (mode 0600), print nothing")
    create.add_argument("--json", action="store_true", help='print {"tenant_id", "project_id", "api_key_id", "key"}')
    add_data_argument(create)
    create.set_defaults(run=run, preload=preload, act=_create_tenant)


def _register_keys(commands: Commands) -> None:
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
    create.add_argument("--key-file", type=Path, metavar="PATH", help="write the key here (mode 0600), print nothing")
    create.set_defaults(run=run, preload=preload, act=_create_key)
    listing = actions.add_parser("list", help="every key, newest first, without secrets")
    listing.set_defaults(run=run, preload=preload, act=_list_keys)
    revoke = actions.add_parser("revoke", help="end a key; takes effect within 5 seconds everywhere")
    revoke.add_argument("id", type=UUID)
    revoke.set_defaults(run=run, preload=preload, act=_revoke_key)
    for each in (create, listing, revoke):
        add_data_argument(each)
        each.add_argument("--tenant", required=True, metavar="NAME")
        each.add_argument("--json", action="store_true", help="print JSON")


async def _run(act: "Callable[[TenancyServices, argparse.Namespace], Awaitable[int]]", args: argparse.Namespace) -> int:
    from cognitionos.composition import tenancy

    async with operator_base(args.data) as base:
        return await act(tenancy.build(base), args)


async def _create_tenant(services: "TenancyServices", args: argparse.Namespace) -> int:
    if args.key_file is not None and _holds_something(args.key_file):
        raise KeyFileExists(f"{args.key_file} exists; name another file, or remove it to get a new key.")
    found = await services.key_store.find_tenant(args.name)
    if found is not None and args.key_file is not None:
        tenant_id, project_id = found  # its key was lost, or the run that made it died before writing the file
    else:
        tenant, project = await services.tenants.create(args.name)
        tenant_id, project_id = tenant.id, project.id
    issued = await services.api_keys.create_first(tenant_id, project_id, "first key")
    _hand_out(args, issued.text.whole, tenant_id=tenant_id, project_id=project_id, api_key_id=issued.key.id)
    return 0


async def _create_key(services: "TenancyServices", args: argparse.Namespace) -> int:
    who = await _operator(services, args.tenant)
    scopes = frozenset(args.scope or Permission)
    issued = await services.api_keys.create(who, args.name, scopes=scopes, expires_at=args.expires_at)
    _hand_out(args, issued.text.whole, tenant_id=who.tenant_id, project_id=who.project_id, api_key_id=issued.key.id)
    return 0


async def _list_keys(services: "TenancyServices", args: argparse.Namespace) -> int:
    import msgspec

    who = await _operator(services, args.tenant)
    rows = await services.queries.keys(who.tenant_id, limit=MOST_LISTED, after=None)
    if args.json:
        print(msgspec.json.encode(rows).decode())
        return 0
    for row in rows:
        state = f"revoked {row.revoked_at:%F %T}" if row.revoked_at else f"used {row.last_used_at or 'never'}"
        print(f"{row.id}  {row.prefix}...  {row.name}  {state}  {' '.join(row.scopes)}")
    return 0


async def _revoke_key(services: "TenancyServices", args: argparse.Namespace) -> int:
    await services.api_keys.revoke(await _operator(services, args.tenant), args.id)
    print(json.dumps({"id": str(args.id), "revoked": True}) if args.json else f"{args.id} is revoked")
    return 0


async def _operator(services: "TenancyServices", tenant: str) -> Principal:
    """Whoever can reach the database with our secret may act for any tenant."""
    found = await services.key_store.find_tenant(tenant)
    if found is None:
        raise NoSuchTenant(f"There is no tenant '{tenant}'; 'cognitionos tenants create {tenant}' makes it.")
    return Principal(tenant_id=found[0], project_id=found[1], api_key_id=None, permissions=frozenset(Permission))


def _hand_out(args: argparse.Namespace, key: str, **ids: UUID) -> None:
    named: dict[str, Any] = {name: str(value) for name, value in ids.items()}
    if args.key_file is not None:
        _write_private(args.key_file, key)
        named["key_file"] = str(args.key_file)
    else:
        named["key"] = key
    if args.json:
        print(json.dumps(named))
    elif args.key_file is None:
        print(key)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _holds_something(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _write_private(path: Path, key: str) -> None:
    """Write the whole key or nothing, readable by its owner only."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(key + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
