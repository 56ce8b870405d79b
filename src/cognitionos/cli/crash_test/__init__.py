"""`cognitionos crash-test`: kill workers at random moments and see whether anything is lost or done twice."""

import argparse
import asyncio
import json
import random
import sys
from pathlib import Path

from cognitionos.cli.arguments import Commands, add_command, add_server_arguments
from cognitionos.kernel.errors import DomainError, Invalid

_DOES = """\
Kill workers with SIGKILL at random moments while runs are in flight, and check what is promised: every run succeeds
with the outputs it has without kills, no task and no effect is lost, none is doubled, and others take over within the
lease and 2 s (p99). Status 1 if not.

Without --kill or --pid-file this starts PostgreSQL, Valkey, API and workers of its own in a temporary directory and
kills those. With one of them it tests the deployment that --url (or --data) names; something there must start a
killed worker again, and the workers must be allowed to reach this command: COGNITIONOS_HTTP_ALLOW=ADDRESS:PORT.

An effect is an HTTP request with an Idempotency-Key. A worker that dies before it could record an answer makes its
successor ask again with the same key, and a receiver that honours the key applies it once, as the one in here does.
Doubled is an effect that came under two keys, or without one."""


class WrongPlan(Invalid):
    """The options do not go together."""


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "crash-test",
        does="Kill workers while runs are in flight; check that nothing is lost or done twice.",
        examples="""
            cognitionos crash-test                                # 200 kills, 20 runs in flight, 2 workers
            cognitionos crash-test --points                       # at each commit boundary of the engine
            cognitionos crash-test --moments 20 --runs 5 --workers 1 --seed 7 --json
            cognitionos crash-test --url https://agents.example.com --api-key cog_... --lease 10 \\
              --listen 0.0.0.0:8090 --sink-url http://10.0.0.7:8090 --kill 'docker kill -s KILL cognitionos-worker-1'
            cognitionos crash-test --pid-file worker-1.pid --pid-file worker-2.pid      # a deployment of this machine
        """,
    )
    parser.description = _DOES
    parser.add_argument("--moments", type=int, default=200, help="kills (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=20, help="runs in flight (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="of the stack started here (default: %(default)s)")
    parser.add_argument(
        "--every",
        type=float,
        metavar="S",
        help="mean seconds from 'a worker is there' to a kill (default: a quarter of what runs take without kills)",
    )
    parser.add_argument(
        "--points",
        action="store_true",
        help="instead: one kill at each named point of the code that a run passes; on a stack of its own",
    )
    parser.add_argument("--seed", type=int, help="of the moments and victims (default: by chance, printed)")
    parser.add_argument(
        "--lease", type=float, metavar="S", help="COGNITIONOS_LEASE_S: set here (default: 2), or there (default: 10)"
    )
    parser.add_argument(
        "--take-over", type=float, metavar="S", help="the most that p99 of take-overs may be (default: lease + 2)"
    )
    there = parser.add_argument_group("a given deployment")
    there.add_argument("--kill", metavar="COMMAND", help="shell command that kills one worker")
    there.add_argument("--pid-file", type=Path, action="append", default=[], help="of a local worker (repeatable)")
    there.add_argument(
        "--listen", metavar="ADDRESS:PORT", default="127.0.0.1:8090", help="where effects are received (%(default)s)"
    )
    there.add_argument("--sink-url", metavar="URL", help="how workers reach it (default: http://ADDRESS:PORT)")
    add_server_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Test; gives the exit status."""
    from cognitionos.cli.crash_test.testing import given, own

    if args.moments < 1 or args.runs < 1 or args.workers < 1 or (args.every or 0) < 0:
        raise WrongPlan("--moments, --runs and --workers are at least 1, --every is not negative")
    is_given = bool(args.kill or args.pid_file)
    if args.kill and args.pid_file:
        raise WrongPlan("--kill and --pid-file are two ways to kill; give one")
    if args.points and is_given:
        raise WrongPlan("--points needs a stack of its own: its workers are told where to die when they start")
    if args.url and not is_given:
        raise WrongPlan("say how one of its workers is killed: --kill COMMAND or --pid-file PATH")
    args.seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    print(f"cognitionos: seed {args.seed}", file=sys.stderr)
    try:
        told = asyncio.run(given(args) if is_given else own(args))
    except BaseExceptionGroup as group:
        raise _first(group) from None
    if args.json:
        print(json.dumps(told, indent=2))
    return 0 if told["ok"] else 1


def _first(error: BaseException) -> BaseException:
    """What went wrong first, of what went wrong together; our own refusals before others."""
    while isinstance(error, BaseExceptionGroup):
        refusals = error.subgroup(DomainError)
        error = (refusals or error).exceptions[0]
    return error
