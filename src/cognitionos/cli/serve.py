"""`cognitionos serve`: the API process (granian, one worker process)."""

import argparse
import asyncio
import gc
import math
import signal
from typing import TYPE_CHECKING

from cognitionos.cli.arguments import Commands, add_command
from cognitionos.cli.settings import read_settings

if TYPE_CHECKING:
    from litestar import Litestar

# Requests in progress; beyond it granian stops accepting. An open event stream holds one, so it is far above the pool.
_BACKPRESSURE = 1024
# Objects made before the collector looks at the young ones: a streamed answer makes some thousands, and all of them go
# by reference count. With the default of 700 a twentieth of a call's CPU went into looking for cycles.
_YOUNG_OBJECTS = 20_000


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "serve",
        does="Serve the HTTP API.",
        examples="""
            cognitionos serve
            DATABASE_URL=postgresql://... REDIS_URL=redis://... cognitionos serve --host 0.0.0.0 --port 8080
        """,
    )
    parser.add_argument("--host", help="address to listen on (default: COGNITIONOS_HOST, 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default: COGNITIONOS_PORT, 8080)")
    parser.set_defaults(run=run, preload=preload)


def preload() -> None:
    """Import the application; granian's worker is a fork of this process and has it then."""

    import cognitionos.web  # noqa: F401


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM; gives the exit status."""
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.log import LogLevels
    from granian.server import Server

    from cognitionos.platform.draining import ENDING_S
    from cognitionos.platform.embedded.child import die_with_parent
    from cognitionos.web import create_app

    settings = read_settings(to_serve=True)

    def load() -> "Litestar":
        """Runs in granian's worker, which must not outlive granian."""
        die_with_parent(signal.SIGTERM)
        args.lifeline.watch()
        app = create_app(settings)
        app.on_startup += [_spare_the_collector, _drain_when_told_to_stop]
        return app

    server = Server(
        "cognitionos.web:create_app",
        address=args.host or settings.host,
        port=settings.port if args.port is None else args.port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        loop=Loops.uvloop,
        workers=1,
        websockets=False,
        backpressure=_BACKPRESSURE,
        workers_kill_timeout=math.ceil(settings.drain_s + ENDING_S),
        log_level=LogLevels.warning,
        log_access=False,
    )
    server.serve(target_loader=load, wrap_loader=False)
    return 0


async def _drain_when_told_to_stop(app: "Litestar") -> None:
    """On SIGTERM granian lets requests go on for as long as they like, and kills the process some time after.

    It stops for SIGINT just so: what it hears is that, passed on by whoever ends the requests before it loses patience.
    """
    loop, draining = asyncio.get_running_loop(), app.state.draining

    def leave() -> None:
        draining.begin()
        signal.raise_signal(signal.SIGINT)

    loop.add_signal_handler(signal.SIGTERM, leave)


def _spare_the_collector() -> None:
    """What was made until the API is ready lives as long as the process: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)
