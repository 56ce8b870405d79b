"""`cognitionos work`: the worker process."""

import argparse

from cognitionos.cli.arguments import Commands, add_command
from cognitionos.cli.settings import read_settings


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "work",
        does="Run goals, tasks and background jobs.",
        examples="""
            cognitionos work
            COGNITIONOS_TASK_SLOTS=64 DATABASE_URL=postgresql://... REDIS_URL=redis://... cognitionos work
        """,
    )
    parser.set_defaults(run=run, preload=preload)


def preload() -> None:
    """Import the worker."""
    import cognitionos.worker  # noqa: F401


def run(args: argparse.Namespace) -> int:
    """Work until SIGTERM; gives the exit status."""
    from cognitionos import worker

    settings = read_settings(to_serve=True)
    args.lifeline.watch()
    return worker.run(settings, on_ready=args.lifeline.report_ready)
