"""Both ways to test: a stack of our own, or a given deployment."""

import argparse
import sys
from typing import Any

from rich.console import Console

from cognitionos.cli.client import server_of
from cognitionos.cli.crash_test import report
from cognitionos.cli.crash_test.client import a_client
from cognitionos.cli.crash_test.kills import KillCommand, PidFiles, Target, own_workers
from cognitionos.cli.crash_test.own_stack import own_stack
from cognitionos.cli.crash_test.sink import Sink, running_sink
from cognitionos.cli.crash_test.storm import Plan, Storm

_OWN_LEASE_S = 2.0
_USUAL_LEASE_S = 10.0
_TAKE_OVER_SLACK_S = 2.0


async def own(args: argparse.Namespace) -> dict[str, Any]:
    """Start a stack, kill its workers; gives the report."""
    lease_s = args.lease or _OWN_LEASE_S
    async with running_sink() as sink:
        settings = {"COGNITIONOS_LEASE_S": str(lease_s), "COGNITIONOS_HTTP_ALLOW": sink.address}
        async with (
            own_stack(settings=settings, say=_say) as stack,
            own_workers(stack.processes, count=args.workers) as target,
        ):
            return await _tested(args, stack.url, stack.api_key, sink, target, workers=args.workers, lease_s=lease_s)


async def given(args: argparse.Namespace) -> dict[str, Any]:
    """Kill workers of a deployment; gives the report."""
    api = server_of(args)
    target: Target = KillCommand(command=args.kill) if args.kill else PidFiles(files=args.pid_file)
    host, _, port = args.listen.rpartition(":")
    async with running_sink(host, int(port)) as sink:
        if args.sink_url:
            sink.url = args.sink_url.rstrip("/") + "/effect"
        workers = len(args.pid_file) or None
        return await _tested(
            args, api.url, api.key, sink, target, workers=workers, lease_s=args.lease or _USUAL_LEASE_S
        )


async def _tested(
    args: argparse.Namespace, url: str, api_key: str, sink: Sink, target: Target, *, workers: int | None, lease_s: float
) -> dict[str, Any]:
    plan = Plan(
        runs=args.runs, moments=args.moments, every_s=args.every, end_within_s=60.0 + 3 * lease_s, seed=args.seed
    )
    console = Console(stderr=True)
    async with a_client(url, api_key) as client:
        with report.watching(console, args.moments) as watcher:
            storm = Storm(client=client, sink=sink, target=target, plan=plan, tell=watcher)
            verdict = await storm.run()
    limit_s = args.take_over or lease_s + _TAKE_OVER_SLACK_S
    setting = {"seed": args.seed, "workers": workers, "lease_s": lease_s, "runs_in_flight": args.runs}
    told = report.document(storm, verdict, setting, limit_s)
    if not args.json:
        report.show(Console(), told)
    return told


def _say(text: str) -> None:
    print(f"cognitionos: {text}", file=sys.stderr)
