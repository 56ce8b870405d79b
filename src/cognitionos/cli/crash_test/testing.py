"""Both ways to test: a stack of our own, or a given deployment."""

import argparse
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from rich.console import Console

from cognitionos.cli.client import server_of
from cognitionos.cli.crash_test import report
from cognitionos.cli.crash_test.client import a_client
from cognitionos.cli.crash_test.kills import KillCommand, PidFiles, Target, own_workers
from cognitionos.cli.crash_test.load import Load
from cognitionos.cli.crash_test.own_stack import OwnStack, own_stack
from cognitionos.cli.crash_test.points import POINTS, PointKills
from cognitionos.cli.crash_test.sink import Sink, running_sink
from cognitionos.cli.crash_test.storm import Plan, Storm
from cognitionos.cli.crash_test.verdict import Verdict
from cognitionos.kernel.errors import Invalid

_OWN_LEASE_S = 2.0
_USUAL_LEASE_S = 10.0
_TAKE_OVER_SLACK_S = 2.0


class CannotListen(Invalid):
    """Nothing can be received at the address."""


async def own(args: argparse.Namespace) -> dict[str, Any]:
    """Start a stack, kill its workers; gives the report."""
    lease_s = args.lease or _OWN_LEASE_S
    async with running_sink() as sink:
        settings = {"COGNITIONOS_LEASE_S": str(lease_s), "COGNITIONOS_HTTP_ALLOW": sink.address}
        async with own_stack(settings=settings, say=_say) as stack:
            if args.points:
                return await _at_points(args, stack, sink, lease_s=lease_s)
            async with own_workers(stack.processes, count=args.workers) as target:
                setting = {"workers": args.workers, "lease_s": lease_s}
                return await _at_random(args, stack.url, stack.api_key, sink, target, setting)


@asynccontextmanager
async def listening(host: str, port: str) -> AsyncIterator[Sink]:
    """A sink at this address. Raises `CannotListen`."""
    async with AsyncExitStack() as stack:
        try:
            sink = await stack.enter_async_context(running_sink(host, int(port)))
        except (OSError, ValueError, OverflowError) as error:
            raise CannotListen(f"--listen {host}:{port}: {error}. Name another ADDRESS:PORT.") from error
        yield sink


async def given(args: argparse.Namespace) -> dict[str, Any]:
    """Kill workers of a deployment; gives the report."""
    api = server_of(args)
    target: Target = KillCommand(command=args.kill) if args.kill else PidFiles(files=args.pid_file)
    host, _, port = args.listen.rpartition(":")
    async with listening(host, port) as sink:
        if args.sink_url:
            sink.url = args.sink_url.rstrip("/") + "/effect"
        setting = {"workers": len(args.pid_file) or None, "lease_s": args.lease or _USUAL_LEASE_S}
        return await _at_random(args, api.url, api.key, sink, target, setting)


async def _at_random(
    args: argparse.Namespace, url: str, api_key: str, sink: Sink, target: Target, setting: dict[str, Any]
) -> dict[str, Any]:
    plan = Plan(
        runs=args.runs,
        moments=args.moments,
        every_s=args.every,
        end_within_s=60.0 + 3 * setting["lease_s"],
        seed=args.seed,
    )
    async with a_client(url, api_key) as client:
        with report.watching(Console(stderr=True), args.moments) as watcher:
            storm = Storm(client=client, sink=sink, target=target, plan=plan, tell=watcher)
            verdict = await storm.run()
    more = {"seed": args.seed, "runs_in_flight": args.runs, "kills": len(storm.deaths)}
    more |= {"every_s": round(storm.every_s, 2), "seconds": round(storm.took_s, 1)}
    return _told(args, verdict, setting | more)


async def _at_points(args: argparse.Namespace, stack: OwnStack, sink: Sink, *, lease_s: float) -> dict[str, Any]:
    begun = time.monotonic()
    async with a_client(stack.url, stack.api_key) as client:
        load = await Load.declare(client, effect_url=sink.url, prefix="points")
        with report.watching(Console(stderr=True), len(POINTS)) as watcher:
            kills = PointKills(load=load, sink=sink, processes=stack.processes, lease_s=lease_s, tell=watcher.show)
            verdict = await kills.run()
    setting = {"workers": 1, "lease_s": lease_s, "seed": None, "points": list(POINTS), "kills": len(kills.deaths)}
    return _told(args, verdict, setting | {"seconds": round(time.monotonic() - begun, 1)})


def _told(args: argparse.Namespace, verdict: Verdict, setting: dict[str, Any]) -> dict[str, Any]:
    told = report.document(verdict, setting, args.take_over or setting["lease_s"] + _TAKE_OVER_SLACK_S)
    if not args.json:
        report.show(Console(), told)
    return told


def _say(text: str) -> None:
    print(f"cognitionos: {text}", file=sys.stderr)
