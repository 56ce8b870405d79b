"""The `cognitionos` command. It starts fast: a command imports what is heavy when it runs."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from cognitionos import __version__
from cognitionos.cli import (
    approvals,
    budgets,
    chat,
    crash_test,
    doctor,
    down,
    goals,
    keys,
    mcp,
    migrate,
    prepare,
    prices,
    run_control,
    schedules,
    serve,
    tenants,
    up,
    upkeep,
    usage,
    webhooks,
    work,
)
from cognitionos.cli.lifeline import Lifeline
from cognitionos.kernel.errors import DomainError

# Each has `register(commands)`, which adds a parser with the defaults `run` (Namespace -> exit status) and, where the
# supervisor starts it ahead of time, `preload` (imports what `run` will need).
_COMMANDS = (
    goals,
    chat,
    approvals,
    run_control,
    schedules,
    webhooks,
    budgets,
    prices,
    usage,
    tenants,
    keys,
    upkeep,
    mcp,
    up,
    down,
    serve,
    work,
    migrate,
    prepare,
    doctor,
    crash_test,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status. A refusal is a line or a few on stderr, status 1."""
    args = _parser().parse_args(argv)
    args.lifeline = Lifeline.from_environment()
    try:
        if args.lifeline.is_supervised:
            args.preload()
            args.lifeline.wait_for_go()
        status = int(args.run(args))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read has had enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except DomainError as error:
        print(f"cognitionos: {error.detail}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cognitionos",
        description="The backend for running AI agents in production.",
        epilog="'cognitionos COMMAND --help' shows examples. Settings are COGNITIONOS_* variables, DATABASE_URL, "
        "REDIS_URL and the usual keys of model providers (docs/operations.md).",
    )
    parser.add_argument("--version", action="version", version=f"cognitionos {__version__}")
    parser.set_defaults(preload=lambda: None)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.register(commands)
    return parser
