"""`cognitionos webhooks`: endpoints that are told what happens."""

import argparse
from typing import Any

from cognitionos.cli.arguments import Commands, add_command, add_server_arguments, say
from cognitionos.cli.client import server_of


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "webhooks",
        does="Tell endpoints of yours what happens in runs.",
        examples="""
            cognitionos webhooks create https://example.com/hook --event run.succeeded --event run.failed
            cognitionos webhooks list
            cognitionos webhooks deliveries ID
        """,
    )
    acts = parser.add_subparsers(metavar="ACT", required=True)
    creating = add_command(
        acts,
        "create",
        does="Create a webhook; its secret is shown this once.",
        examples="cognitionos webhooks create https://example.com/hook --event approval.requested",
    )
    creating.add_argument("endpoint", metavar="URL", help="where to")
    creating.add_argument("--event", action="append", required=True, help="what to tell it; may be given many times")
    creating.add_argument("--description")
    add_server_arguments(creating)
    creating.set_defaults(run=create)
    listing = add_command(acts, "list", does="Show every webhook.", examples="cognitionos webhooks list --json")
    add_server_arguments(listing)
    listing.set_defaults(run=show_all)
    for act, does, run in (
        ("deliveries", "Show what it was told, and what became of that.", deliveries),
        ("ping", "Send it a test message.", ping),
        ("enable", "Tell it again what happens.", enable),
        ("disable", "Tell it nothing for now.", disable),
        ("renew-secret", "Give it a new secret; the old one signs too for 24 hours.", renew_secret),
        ("delete", "Forget it with its deliveries.", delete),
    ):
        one = add_command(acts, act, does=does, examples=f"cognitionos webhooks {act} ID")
        one.add_argument("webhook", help="its id")
        add_server_arguments(one)
        one.set_defaults(run=run)
    again = add_command(
        acts, "replay", does="Send a delivery again.", examples="cognitionos webhooks replay ID DELIVERY"
    )
    again.add_argument("webhook", help="its id")
    again.add_argument("delivery", help="id of the delivery")
    add_server_arguments(again)
    again.set_defaults(run=replay)


def create(args: argparse.Namespace) -> int:
    """Create a webhook."""
    body = {"url": args.endpoint, "events": args.event, "description": args.description}
    made = server_of(args).post_for_secret("/v1/webhooks", body)
    return say(args, made, f"{made['id']}\nsecret (shown this once): {made['secret']}")


def show_all(args: argparse.Namespace) -> int:
    """List the webhooks."""
    page = server_of(args).get("/v1/webhooks")
    lines = [
        f"{each['id']}  {each['url']}  {'enabled' if each['enabled'] else each['disabled_because']}  "
        + " ".join(each["events"])
        for each in page["items"]
    ]
    return say(args, page, "\n".join(lines or ["nobody is told"]))


def deliveries(args: argparse.Namespace) -> int:
    """Show a webhook's deliveries."""
    page = server_of(args).get(f"/v1/webhooks/{args.webhook}/deliveries")
    lines = [
        f"{each['id']}  {each['created_at']}  {each['event']:<18}  {each['status']:<9}  "
        + ", ".join(str(tried["status"] or tried["error"]) for tried in each["log"])
        for each in page["items"]
    ]
    return say(args, page, "\n".join(lines or ["it was told nothing yet"]))


def ping(args: argparse.Namespace) -> int:
    """Send a test message."""
    delivery = server_of(args).post(f"/v1/webhooks/{args.webhook}/ping", {})
    return say(args, delivery, f"delivery {delivery['id']}")


def enable(args: argparse.Namespace) -> int:
    """Enable a webhook."""
    return say(args, _set_enabled(args, is_enabled=True), "enabled")


def disable(args: argparse.Namespace) -> int:
    """Disable a webhook."""
    return say(args, _set_enabled(args, is_enabled=False), "disabled")


def renew_secret(args: argparse.Namespace) -> int:
    """Renew a webhook's secret."""
    made = server_of(args).post_for_secret(f"/v1/webhooks/{args.webhook}/secret", {})
    return say(args, made, f"secret (shown this once): {made['secret']}")


def delete(args: argparse.Namespace) -> int:
    """Delete a webhook."""
    server_of(args).delete(f"/v1/webhooks/{args.webhook}")
    return say(args, {"deleted": args.webhook}, "deleted")


def replay(args: argparse.Namespace) -> int:
    """Send a delivery again."""
    path = f"/v1/webhooks/{args.webhook}/deliveries/{args.delivery}/replay"
    return say(args, server_of(args).post(path, {}), "it is sent again")


def _set_enabled(args: argparse.Namespace, *, is_enabled: bool) -> Any:
    return server_of(args).patch(f"/v1/webhooks/{args.webhook}", {"enabled": is_enabled})
