"""The only constructor: settings in, services out. `build` does no I/O; `open` runs on the loop that will use them."""

from dataclasses import dataclass

from cognitionos.composition import agents, llm_gateway, memory, planning, tenancy
from cognitionos.composition import base as platform
from cognitionos.composition.agents import AgentsServices
from cognitionos.composition.base import Background, Base, Resource
from cognitionos.composition.llm_gateway import LlmGatewayServices
from cognitionos.composition.memory import MemoryServices
from cognitionos.composition.planning import PlanningServices
from cognitionos.composition.sweeper import OutboxSweeper
from cognitionos.composition.tenancy import TenancyServices
from cognitionos.platform import crash_points
from cognitionos.platform.config import Settings


@dataclass(frozen=True, kw_only=True)
class Services:
    """Every context, wired."""

    base: Base
    tenancy: TenancyServices
    llm_gateway: LlmGatewayServices
    memory: MemoryServices
    agents: AgentsServices
    planning: PlanningServices

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What `open` opens, in order."""
        contexts = (self.tenancy, self.llm_gateway, self.memory, self.agents, self.planning)
        return (*self.base.resources, *(resource for context in contexts for resource in context.resources))

    @property
    def background(self) -> tuple[Background, ...]:
        """The loops of the worker process."""
        return (
            OutboxSweeper(outbox=self.base.outbox, signals=self.base.signals, every_s=self.base.settings.sweep_s),
            self.agents.conversing.sweeper,
            self.agents.sweeper,
            *self.memory.background,
            *self.planning.background,
        )

    async def open(self) -> None:
        """Open everything on the running loop."""
        for resource in self.resources:
            await resource.open()

    async def close(self) -> None:
        """Close everything, last opened first."""
        for resource in reversed(self.resources):
            await resource.close()
        await self.base.scripts.close()
        await self.base.redis.aclose()


def build(settings: Settings) -> Services:
    """Wire the product for `settings`."""
    settings.require_production_secrets()
    crash_points.arm(settings.crash_point)
    base = platform.build(settings)
    gateway = llm_gateway.build(base)
    remembering = memory.build(base, gateway.gateway)
    for subscription in remembering.subscriptions:
        base.bus.subscribe(subscription.event_type, subscription.name, subscription.handle)
    working = agents.build(base, gateway.gateway, remembering.memory)
    return Services(
        base=base,
        tenancy=tenancy.build(base),
        llm_gateway=gateway,
        memory=remembering,
        agents=working,
        planning=planning.build(
            base,
            gateway=gateway.gateway,
            memory=remembering.memory,
            agents=working.agents,
            send_http=working.task_http.request,
        ),
    )
