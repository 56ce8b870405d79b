"""`cognitionos prices`: what models cost."""

import argparse
from typing import Any
from urllib.parse import quote

from cognitionos.cli.arguments import Commands, add_command, add_server_arguments, say
from cognitionos.cli.client import server_of
from cognitionos.cli.columns import columns

_HEADS = ("model", "version", "input", "output")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "prices",
        does="Set and show what models cost, in dollars per million tokens.",
        examples="""
            cognitionos prices set openai/my-model --input 0.5 --output 1.5
            cognitionos prices set openai/my-model --input 0 --output 0
            cognitionos prices show openai/gpt-4o-mini
            cognitionos prices list
        """,
    )
    acts = parser.add_subparsers(metavar="ACT", required=True)
    setting = _act(
        acts, "set", does="Set a model's price from now on.", run=set_price, on="openai/m --input 0.5 --output 2"
    )
    setting.add_argument("model", help="provider/model, or a bare name")
    setting.add_argument("--input", required=True, metavar="USD", help="per million tokens of the prompt; 0: free")
    setting.add_argument("--output", required=True, metavar="USD", help="per million tokens of the answer")
    setting.add_argument("--cached-input", metavar="USD", help="per million that the provider had kept (as --input)")
    showing = _act(
        acts, "show", does="Show what a call is billed at, and who says so.", run=show, on="openai/gpt-4o-mini"
    )
    showing.add_argument("model", help="provider/model, a bare name, or a route")
    _act(acts, "list", does="Show the prices that were set.", run=show_all)


def set_price(args: argparse.Namespace) -> int:
    """Set a price."""
    body = {"input_usd_per_million": args.input, "output_usd_per_million": args.output}
    body |= {"cached_input_usd_per_million": args.cached_input} if args.cached_input is not None else {}
    told = server_of(args).put(f"/v1/prices/{quote(args.model)}", body)
    return say(args, told, f"{told['model']} costs {_rates(told['price'])} (version {told['version']})")


def show(args: argparse.Namespace) -> int:
    """Show the price that calls are billed at."""
    told = server_of(args).get(f"/v1/prices/{quote(args.model)}")
    price = "nobody knows what it costs" if told["price"] is None else f"costs {_rates(told['price'])}"
    return say(args, told, f"{told['model']}: {price} (by: {told['source']})")


def show_all(args: argparse.Namespace) -> int:
    """List the tenant's own prices."""
    server = server_of(args)
    found = server.get("/v1/prices?limit=200")
    while found["next_cursor"]:
        more = server.get(f"/v1/prices?limit=200&cursor={quote(found['next_cursor'], safe='')}")
        found = {"items": found["items"] + more["items"], "next_cursor": more["next_cursor"]}
    rows = [[each["model"], str(each["version"]), *_both(each["price"])] for each in found["items"]]
    return say(args, found, columns(_HEADS, rows, right=3) if rows else "none was set: the public table's hold")


def _act(acts: Commands, name: str, *, does: str, run: object, on: str = "") -> argparse.ArgumentParser:
    parser = add_command(acts, name, does=does, examples=f"cognitionos prices {name} {on}".rstrip())
    add_server_arguments(parser)
    parser.set_defaults(run=run)
    return parser


def _both(price: dict[str, Any]) -> list[str]:
    return [price.get("input_usd_per_million", "0"), price.get("output_usd_per_million", "0")]


def _rates(price: dict[str, Any]) -> str:
    return "${} and ${} per million tokens in and out".format(*_both(price))
