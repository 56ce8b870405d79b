"""`cognitionos up`: everything on one machine, supervised."""

import argparse
import json
import os
import sys
from dataclasses import asdict

from cognitionos.cli.arguments import Commands, add_command, add_data_argument, default_port
from cognitionos.cli.note import KEY_FILE
from cognitionos.cli.settings import read_settings


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "up",
        does="Run everything on this machine: PostgreSQL, Valkey, API and worker, supervised, until SIGTERM or Ctrl-C.",
        examples="""
            cognitionos up                                  # http://127.0.0.1:8080, data in .data
            cognitionos up --data ~/cognitionos --port 0 --json
            DATABASE_URL=postgresql://... REDIS_URL=redis://... cognitionos up      # with servers of your own
        """,
    )
    add_data_argument(parser)
    parser.add_argument("--host", default=os.environ.get("COGNITIONOS_HOST", "127.0.0.1"), help="default: %(default)s")
    parser.add_argument(
        "--port",
        type=int,
        default=default_port(),
        help="default: %(default)s; 0: any free port",
    )
    parser.add_argument(
        "--json", action="store_true", help='print one line {"url", "api_key", "pid"} when all is ready'
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until asked to stop; gives the exit status."""
    from cognitionos.cli.stack import Running, Stack
    from cognitionos.cli.supervision import Interrupts

    if any(name.startswith("COGNITIONOS_") for name in os.environ):
        read_settings()  # a wrong one is better told here than by a child's log

    def show(running: Running) -> None:
        if args.json:
            print(json.dumps(asdict(running)), flush=True)
            return
        print("CognitionOS is running.", flush=True)
        print(f"  API   {running.url}     documents: {running.url}/docs")
        print(f"  key   {stack.data_dir / KEY_FILE}     (Authorization: Bearer ...)")
        print(f"  data  {stack.data_dir}     logs: {stack.data_dir / 'logs'}")
        print("Ctrl-C stops it.", flush=True)

    stack = Stack(args.data, host=args.host, interrupts=Interrupts(), say=_say)
    try:
        show(stack.start(port=args.port))
        stack.watch()
        _say("stopping: worker, API, servers")
    finally:
        stack.stop()
    return 0


def _say(text: str) -> None:
    print(f"cognitionos: {text}", file=sys.stderr, flush=True)
