"""The worker process: Dramatiq's threads for background jobs; on its one event loop the services and their loops."""

import asyncio
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

import dramatiq
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.broker import Broker
from dramatiq.middleware import Middleware

from cognitionos.composition import Services, build
from cognitionos.composition.base import Background
from cognitionos.platform import jobs, logging, telemetry
from cognitionos.platform.config import Settings

log = logging.get_logger(__name__)
HAND_BACK_WITHIN_S = 10.0
STOP_WITHIN_MS = 15_000


class ServicesLife(Middleware):
    """Opens the services on the worker's event loop, runs their loops, and closes them before that loop ends."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._loops: Future[None] | None = None
        self.failure: BaseException | None = None
        self.ended = threading.Event()

    def before_worker_boot(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Open before the first message is taken. Dramatiq swallows what a middleware raises, so it is kept."""
        thread = get_event_loop_thread()
        if thread is None:
            raise RuntimeError("dramatiq's AsyncIO middleware starts the loop before the worker boots")
        try:
            thread.run_coroutine(self._services.open())
        except Exception as error:
            self.failure = error
            self.ended.set()
            raise
        self._loops = asyncio.run_coroutine_threadsafe(_run_all(self._services.background), thread.loop)
        self._loops.add_done_callback(self._loops_ended)

    def before_worker_shutdown(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Claim no more: end the loops, each of which finishes or hands back what it holds."""
        if self._loops is not None:
            self._loops.cancel()
            wait([self._loops], timeout=HAND_BACK_WITHIN_S)

    def after_worker_shutdown(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Close the services on the loop that opened them."""
        thread = get_event_loop_thread()
        if thread is not None:
            thread.run_coroutine(self._services.close())

    def _loops_ended(self, loops: "Future[None]") -> None:
        if not loops.cancelled() and loops.exception() is not None:
            self.failure = loops.exception()
            self.ended.set()


async def _run_all(loops: tuple[Background, ...]) -> None:
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(loop.run(), name=type(loop).__name__)


def run(settings: Settings, *, on_ready: Callable[[], None] | None = None) -> int:
    """Work until SIGTERM or SIGINT; gives the exit status: 0 when asked to stop, 1 when a loop failed.

    `on_ready` is called once the services are open and messages are taken.
    """
    logging.configure(settings)
    flush_traces = telemetry.configure(settings, service="worker")
    services = build(settings)
    jobs.register(services.base.broker, services.base.outbox.deliver)
    life = ServicesLife(services)
    services.base.broker.add_middleware(life)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: life.ended.set())
    worker = dramatiq.Worker(services.base.broker, worker_threads=settings.worker_threads, worker_timeout=1000)
    worker.start()
    if settings.metrics_port is not None:
        telemetry.serve_metrics(settings.metrics_port, settings.host)
    if life.failure is None:
        log.info("worker_ready")
        if on_ready is not None:
            on_ready()
    life.ended.wait()
    worker.stop(timeout=STOP_WITHIN_MS)
    services.base.broker.close()
    flush_traces()
    if life.failure is not None:
        log.error("worker_failed", error=repr(life.failure))
        return 1
    return 0
