"""What real processes cost that have nothing to do, at the settings of the product: statements and CPU."""

import asyncio
import time
from dataclasses import dataclass, field

from tests.counting import Door, a_door
from tests.cpu import cpu_s_of
from tests.crash.kit import a_product
from tests.servers import TestDatabase
from tests.waiting import eventually

from cognitionos.cli.listening import answers_ready, free_port
from cognitionos.platform.config import Settings

QUERIES_A_SECOND = 1.0
SHARE_OF_A_CORE = 0.01
AT_THE_EDGES = 2
"""Looks of slow timers that happen to begin and to end what is measured."""
CLAIM = "SELECT * FROM claim_and_look($1, $2, $3, $4)"
CLAIMS = 10
"""The worker's engine looks every two seconds."""
STARTED = {
    CLAIM: 3,
    "SELECT * FROM open_turns($1, $2)": 3,
    "SELECT * FROM lead_schedules($1, $2, $3)": 2,
    "SELECT delivery_id, tenant FROM due_deliveries($1)": 1,
}
"""What each loop of the worker has asked at least when its start is over."""


@dataclass(kw_only=True)
class Idle:
    """A process (the leader of its session) behind its door, from now on."""

    session: int
    door: Door
    began: float = field(default_factory=time.monotonic)
    statements: int = 0
    cpu_s: float = 0.0

    def begin(self) -> None:
        """Forget what was."""
        self.began, self.statements, self.cpu_s = time.monotonic(), self.door.total, cpu_s_of(self.session)

    def rates(self) -> str:
        """What was sent, for whoever wants to know."""
        seconds = time.monotonic() - self.began
        return f"{(self.door.total - self.statements) / seconds:.2f} statements a second"

    def check(self) -> None:
        """Nothing was done too often, and nothing cost too much."""
        seconds = time.monotonic() - self.began
        assert self.door.total - self.statements <= QUERIES_A_SECOND * seconds + AT_THE_EDGES, self.door.statements
        assert cpu_s_of(self.session) - self.cpu_s <= SHARE_OF_A_CORE * seconds * 2  # a busy machine makes CPU dearer


async def test_idle_processes_ask_at_most_once_a_second_and_take_under_a_hundredth_of_a_core(
    settings: Settings, database: TestDatabase
) -> None:
    async with (
        a_door(database.app_url) as of_worker,
        a_door(database.app_url) as of_api,
        a_product(settings) as product,
    ):
        del product.environment["COGNITIONOS_LEASE_S"], product.environment["COGNITIONOS_SWEEP_S"]
        product.environment["DATABASE_URL"] = of_worker.url
        worker = await product.worker()
        product.environment["DATABASE_URL"] = of_api.url
        port = free_port("127.0.0.1", 0)
        api = await product.api(port)
        await eventually(lambda: asyncio.to_thread(answers_ready, f"http://127.0.0.1:{port}"), timeout_s=40)
        await eventually(
            lambda: all(of_worker.statements[each] >= times for each, times in STARTED.items()), timeout_s=40
        )
        idle = [Idle(session=worker.pid, door=of_worker), Idle(session=api.pid, door=of_api)]

        for each in idle:
            each.begin()
        until = of_worker.statements[CLAIM] + CLAIMS
        await eventually(lambda: of_worker.statements[CLAIM] >= until, timeout_s=50)

        for each in idle:
            print(each.rates())
            each.check()
