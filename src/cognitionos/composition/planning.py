"""Planning, wired."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from cognitionos.agents.facade import Agents
from cognitionos.agents.infrastructure.conversation_store import wake_turn
from cognitionos.agents.infrastructure.decision_queries import DecisionQueries
from cognitionos.composition import run_control, scheduling, telling
from cognitionos.composition.base import Background, Base, Resource
from cognitionos.composition.memory import CONSOLIDATION
from cognitionos.composition.scheduling import SchedulingServices
from cognitionos.composition.telling import WebhookServices
from cognitionos.llm_gateway.facade import COUNTERFACTUAL_MODEL, Gateway, Usage
from cognitionos.llm_gateway.infrastructure.usage_queries import LedgerQueries
from cognitionos.memory.facade import Memory
from cognitionos.planning.application.agent_tasks import AgentTasks
from cognitionos.planning.application.approvals import Approvals
from cognitionos.planning.application.begun_anew import BegunAnew
from cognitionos.planning.application.engine import Engine
from cognitionos.planning.application.goals import Goals
from cognitionos.planning.application.http_tasks import HttpTasks, SendHttp
from cognitionos.planning.application.nested_tasks import NestedTasks
from cognitionos.planning.application.planner import Planner
from cognitionos.planning.application.ports import Handler, Recall
from cognitionos.planning.application.run_control import RunControl
from cognitionos.planning.application.run_signals import RunSignals
from cognitionos.planning.application.runs import Runs
from cognitionos.planning.application.tool_tasks import ToolTasks
from cognitionos.planning.application.values import PURE
from cognitionos.planning.application.workflows import Workflows
from cognitionos.planning.infrastructure.approval_queries import ApprovalQueries
from cognitionos.planning.infrastructure.approval_store import PostgresApprovals
from cognitionos.planning.infrastructure.event_feed import EventFeed
from cognitionos.planning.infrastructure.http_events import EventStreams
from cognitionos.planning.infrastructure.http_run_control import ControlParts
from cognitionos.planning.infrastructure.nested_queries import NestedQueries
from cognitionos.planning.infrastructure.plan_history import PlanHistory
from cognitionos.planning.infrastructure.queries import PlanningQueries
from cognitionos.planning.infrastructure.repository import PlanningWork
from cognitionos.planning.infrastructure.run_files import RunFiles
from cognitionos.planning.infrastructure.signal_store import PostgresSignals
from cognitionos.planning.infrastructure.task_store import PostgresTaskStore
from cognitionos.planning.infrastructure.workflow_queries import WorkflowQueries
from cognitionos.platform.presence import Presence
from cognitionos.platform.unit_of_work import units_of_work

MEMORY_WITHIN_S = 3.0
"""How long a plan waits for what the run before it found to be remembered."""


@dataclass(frozen=True, kw_only=True)
class PlanningServices:
    """What the HTTP edge, the worker and the command line use of planning."""

    goals: Goals
    runs: Runs
    control: ControlParts
    workflows: Workflows
    approvals: Approvals
    approval_queries: ApprovalQueries
    run_signals: RunSignals
    queries: PlanningQueries
    run_files: RunFiles
    workflow_queries: WorkflowQueries
    scheduling: SchedulingServices
    telling: WebhookServices
    event_streams: EventStreams
    engine: Engine
    presence: Presence
    agents: Agents
    resources: tuple[Resource, ...]

    @property
    def background(self) -> tuple[Background, ...]:
        """The loops of the worker process."""
        return (self.engine, self.presence, self.scheduling.scheduler)


def build(base: Base, *, gateway: Gateway, memory: Memory, agents: Agents, send_http: SendHttp) -> PlanningServices:
    """Planning on `base`. No I/O. `send_http` is the tool that holds the operator's allow-list."""
    begin = units_of_work(PlanningWork, database=base.database, bus=base.bus, relay=base.outbox)
    runs = Runs(begin=begin, signals=base.signals, now=base.now, new_id=base.new_id)
    goals = Goals(
        begin=begin,
        runs=runs,
        signals=base.signals,
        open_budget=gateway.open_budget,
        put_file=agents.put_file,
        default_budget_usd=base.settings.default_goal_budget_usd,
        now=base.now,
        new_id=base.new_id,
    )

    queries = _queries(base, gateway=gateway, agents=agents)
    webhooks = telling.build(base)
    approvals = PostgresApprovals(database=base.database, wake_turn=wake_turn)
    control = run_control.build(base, begin=begin, gateway=gateway, agents=agents)
    engine = _engine(
        base,
        gateway,
        memory=memory,
        agents=agents,
        send_http=send_http,
        approvals=approvals,
        control=control.run_control,
    )
    feed = EventFeed(signals=base.signals, heads=queries.heads)
    return PlanningServices(
        goals=goals,
        runs=runs,
        control=control,
        workflows=Workflows(begin=begin, runs=runs, strangers=agents.strangers, now=base.now, new_id=base.new_id),
        approvals=Approvals(store=approvals, signals=base.signals, now=base.now),
        approval_queries=ApprovalQueries(database=base.database),
        run_signals=RunSignals(
            store=PostgresSignals(database=base.database), signals=base.signals, now=base.now, new_id=base.new_id
        ),
        queries=queries,
        run_files=RunFiles(database=base.database, of_run=agents.files, read=agents.read_file),
        workflow_queries=WorkflowQueries(database=base.database),
        scheduling=scheduling.build(base, runs=runs, goals=goals),
        telling=webhooks,
        event_streams=EventStreams(queries=queries, feed=feed),
        engine=engine,
        presence=Presence(redis=base.redis, worker=engine.worker, slots=engine.slots, lease_s=engine.lease_s),
        agents=agents,
        resources=(feed, *webhooks.resources),
    )


def _queries(base: Base, *, gateway: Gateway, agents: Agents) -> PlanningQueries:
    async def spent(tenant_id: UUID, subject: str) -> int:
        return (await gateway.spent(tenant_id, subject)).spent_nanousd

    def priced_as(prompt_tokens: int, completion_tokens: int) -> tuple[str, int] | None:
        usage = Usage(prompt=prompt_tokens, completion=completion_tokens)
        cost = gateway.priced_as(COUNTERFACTUAL_MODEL, usage)
        return None if cost is None else (COUNTERFACTUAL_MODEL, cost)

    ledger = LedgerQueries(base.database)
    return PlanningQueries(
        database=base.database,
        spent=spent,
        spent_by_runs=ledger.spent_by_runs,
        answered=ledger.answered_in_run,
        prompts=DecisionQueries(base.database).prompts,
        files=agents.files,
        priced_as=priced_as,
    )


def _engine(
    base: Base,
    gateway: Gateway,
    *,
    memory: Memory,
    agents: Agents,
    send_http: SendHttp,
    approvals: PostgresApprovals,
    control: RunControl,
) -> Engine:
    store = PostgresTaskStore(
        database=base.database, bus=base.bus, relay=base.outbox, pure=PURE, now=base.now, new_id=base.new_id
    )

    handlers = _handlers(
        base, gateway, store, memory=memory, agents=agents, send_http=send_http, approvals=approvals, control=control
    )
    return Engine(
        store=store,
        signals=base.signals,
        handlers=handlers,
        pure=PURE,
        worker=str(base.new_id()),
        slots=base.settings.task_slots,
        lease_s=base.settings.lease_s,
        now=base.now,
        sweep_s=base.settings.sweep_s,
    )


def _handlers(
    base: Base,
    gateway: Gateway,
    store: PostgresTaskStore,
    *,
    memory: Memory,
    agents: Agents,
    send_http: SendHttp,
    approvals: PostgresApprovals,
    control: RunControl,
) -> dict[str, Handler]:
    recall = _recall_from(memory)

    async def recall_the_latest(tenant_id: UUID, project_id: UUID, query: str, limit: int) -> Sequence[str]:
        await base.outbox.caught_up(tenant_id, CONSOLIDATION, within_s=MEMORY_WITHIN_S)
        return await recall(tenant_id, project_id, query, limit)

    def with_journal(handler: Handler) -> Handler:
        return BegunAnew(handler=handler, forget=approvals.forget, set_aside=agents.set_aside)

    tools = ToolTasks(call=agents.call_tool, decisions=approvals.decisions)
    journaled: dict[str, Handler] = {
        "plan": Planner(
            ask=agents.ask,
            recall=recall_the_latest,
            history=PlanHistory(database=base.database),
            own=agents.own,
            is_again=store.is_again,
            now=base.now,
        ),
        "agent": AgentTasks(
            perform=agents.perform,
            recall=recall,
            upstream=store.upstream,
            decisions=approvals.decisions,
            open_budget=gateway.open_budget,
        ),
        "tool": tools,
        "python": tools,
    }
    return {
        **{kind: with_journal(handler) for kind, handler in journaled.items()},
        "workflow": NestedTasks(
            runs=NestedQueries(database=base.database, new_id=base.new_id),
            copy_files=agents.copy_files,
            retry=control.retry_below,
        ),
        "http": HttpTasks(send=send_http),
    }


def _recall_from(memory: Memory) -> Recall:
    async def recall(tenant_id: UUID, project_id: UUID, query: str, limit: int) -> tuple[str, ...]:
        found = await memory.recall(tenant_id, project_id, query, limit)
        return tuple(each.content for each in found)

    return recall
