"""`cognitionos prepare`: what the supervisor needs done once in a new data directory, in one process.

One process, because most of the time goes into imports that both steps share.
"""

import argparse
from pathlib import Path

from cognitionos.cli import migrate, tenants
from cognitionos.cli.arguments import Commands, add_command


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "prepare",
        does="Migrate the database and make the tenant 'local' with a key.",
        examples="""
            cognitionos prepare --key-file .data/api_key
        """,
    )
    parser.add_argument("--key-file", type=Path, metavar="PATH", required=True, help="write the key here (mode 0600)")
    parser.set_defaults(run=run, preload=preload)


def preload() -> None:
    """Import what both steps need."""
    migrate.preload()
    tenants.preload()


def run(args: argparse.Namespace) -> int:
    """Migrate, say that the database is ready, make the tenant; gives the exit status."""
    from cognitionos.cli import main

    status = migrate.run(argparse.Namespace(check=False))
    if status != 0:
        return status
    args.lifeline.report_ready()
    return main(["tenants", "create", "local", "--key-file", str(args.key_file)])
