"""`cognitionos down`: stop the stack of a data directory."""

import argparse
import os
import signal
import sys

from cognitionos.cli.arguments import Commands, add_command, add_data_argument

_STOPPED_WITHIN_S = 60.0


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "down",
        does="Stop what 'cognitionos up' started in a data directory; the data stay.",
        examples="""
            cognitionos down
            cognitionos down --data ~/cognitionos
        """,
    )
    add_data_argument(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask the supervisor to stop and wait until it has; 0 as well when nothing ran."""
    from cognitionos.cli.stack import LOCK_FILE
    from cognitionos.platform.embedded.locks import DirectoryLock

    path = args.data / LOCK_FILE
    holder = DirectoryLock.holder(path)
    if holder is None:
        print(f"nothing runs in {args.data}", file=sys.stderr)
        return 0
    os.kill(holder, signal.SIGTERM)
    lock = DirectoryLock(path)
    lock.acquire(timeout_s=_STOPPED_WITHIN_S)
    lock.close()
    return 0
