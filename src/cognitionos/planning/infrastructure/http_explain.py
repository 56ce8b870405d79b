"""Why a run went as it did, from what was stored while it did, over HTTP."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NamedTuple, Protocol
from uuid import UUID

import msgspec
from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from cognitionos.kernel.money import usd_text
from cognitionos.kernel.principal import Permission
from cognitionos.planning.domain.run import RunNotFound
from cognitionos.platform.database import Database
from cognitionos.platform.http_api import Who, instance, problems, requires
from cognitionos.platform.paging import Cursor, decode_cursor, page

MOST_DECISIONS = 1000
Decisive = Annotated[
    int, QueryParameter(ge=1, le=MOST_DECISIONS, description=f"how many decisions at most, 1 to {MOST_DECISIONS}")
]
_BUDGET = "SELECT g.budget_nanousd FROM runs r LEFT JOIN goals g ON g.id = r.goal_id WHERE r.id = %s"


class ByNumber(NamedTuple):
    """Where a page of decisions ended."""

    number: int


class Decided(Protocol):
    """One answer of a model, as agents journaled it."""

    @property
    def number(self) -> int: ...
    @property
    def task(self) -> str: ...
    @property
    def step(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def prompt(self) -> str | None: ...
    @property
    def at(self) -> datetime: ...
    @property
    def call_id(self) -> UUID | None: ...
    @property
    def text(self) -> str: ...
    @property
    def tools(self) -> list[str]: ...
    @property
    def memories(self) -> list[str]: ...
    @property
    def verdict(self) -> Mapping[str, Any] | None: ...
    @property
    def grounding(self) -> Mapping[str, Any] | None: ...


class Paid(Protocol):
    """One row of the gateway's ledger."""

    @property
    def call_id(self) -> UUID: ...
    @property
    def settled_at(self) -> datetime: ...
    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def model_asked(self) -> str: ...
    @property
    def route_reason(self) -> str: ...
    @property
    def cache(self) -> str: ...
    @property
    def attempts(self) -> int: ...
    @property
    def latency_ms(self) -> int: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def cost_usd(self) -> str | None: ...
    @property
    def limit_lowered(self) -> bool: ...
    @property
    def simulated(self) -> bool: ...


class Left(Protocol):
    """What was left of the tightest budget when a model was asked."""

    @property
    def subject(self) -> str: ...
    @property
    def left_nanousd(self) -> int: ...


class Decisions(Protocol):
    """What a run decided, in order, after the decision of this number."""

    async def __call__(self, tenant_id: UUID, run_id: UUID, *, after: int, limit: int) -> Sequence[Decided]: ...


Calls = Callable[[UUID, Sequence[UUID]], Awaitable[Sequence[Paid]]]
"""The rows of these calls of a tenant."""
Spent = Callable[[UUID, UUID], Awaitable[int]]
"""Nano-dollars that all calls of a run (tenant, run) came to."""
LeftBefore = Callable[[UUID, UUID], Awaitable[Mapping[UUID, Left]]]
"""What was left before each call of a run (tenant, run), by call."""


class CallView(msgspec.Struct, frozen=True, kw_only=True):
    """How the gateway got the answer. `why` names the route, and what each deployment that was considered did."""

    call_id: UUID
    model_asked: str
    model: str
    provider: str
    why: str
    attempts: int
    cache: str
    latency_ms: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: str | None
    limit_lowered: bool
    simulated: bool


class VerdictView(msgspec.Struct, frozen=True, kw_only=True):
    """A critic's judgement."""

    accepted: bool
    reasons: list[str]


class UnsupportedClaim(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of an answer that is in nothing its agent was given; `start` and `end` count characters of the answer."""

    kind: str
    text: str
    start: int
    end: int


class GroundingView(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of a draft (from 1) looked up: how many, and which were not found."""

    draft: int
    checked: int
    unsupported: list[UnsupportedClaim]


class DecisionView(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of a model. `call` is null where the ledger has no row (yet).

    `budget_left_usd`: what was not spent when it was asked of the tightest budget (`budget_subject`) among those of the
    goal, the run, the task and the agent run (`agent_run:ID`: what its definition lets it cost).
    """

    task: str
    step: str
    role: str
    prompt: str | None
    at: datetime
    answer: str
    tools: list[str]
    memories: list[str]
    verdict: VerdictView | None
    grounding: GroundingView | None
    call: CallView | None
    budget_left_usd: str | None
    budget_subject: str | None


class ExplanationView(msgspec.Struct, frozen=True, kw_only=True):
    """What models decided in a run, in order, or a page of it. `cost_usd` is of the whole run."""

    run_id: UUID
    budget_usd: str | None
    cost_usd: str
    decisions: list[DecisionView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanations:
    """Puts together what planning, agents and the gateway have stored."""

    database: Database
    decisions: Decisions
    calls: Calls
    spent: Spent
    left_before: LeftBefore

    async def of_run(self, tenant_id: UUID, run_id: UUID, *, after: ByNumber | None, limit: int) -> ExplanationView:
        """A page of the run's. Raises `RunNotFound`."""
        async with self.database.transaction(tenant_id) as connection:
            row = await (await connection.execute(_BUDGET, (run_id,))).fetchone()
        if row is None:
            raise RunNotFound(f"There is no run {run_id}.")
        found = await self.decisions(tenant_id, run_id, after=after.number if after else -1, limit=limit + 1)
        decided = page(found, limit, lambda each: (each.number,))
        asked = [each.call_id for each in decided.items if each.call_id is not None]
        by_id = {call.call_id: call for call in await self.calls(tenant_id, asked)}
        left = await self.left_before(tenant_id, run_id)
        return ExplanationView(
            run_id=run_id,
            budget_usd=None if row[0] is None else usd_text(row[0]),
            cost_usd=usd_text(await self.spent(tenant_id, run_id)),
            decisions=[_view(each, by_id, left) for each in decided.items],
            next_cursor=decided.next_cursor,
        )


@get(
    "/v1/runs/{run_id:uuid}/explain",
    guards=[requires(Permission.RUNS_READ)],
    summary="Explain a run",
    tags=["runs"],
    responses=problems(404),
)
async def explain_run(
    run_id: FromPath[UUID],
    explanations: NamedDependency[Explanations],
    who: Who,
    cursor: Cursor = None,
    limit: Decisive = MOST_DECISIONS,
) -> ExplanationView:
    """Which model answered what and why it was asked, with which prompt and memories, at what cost, judged how."""
    after = decode_cursor(cursor, ByNumber)
    return await explanations.of_run(who.tenant_id, run_id, after=after, limit=limit)


def routes(explanations: Explanations) -> Router:
    """The route."""
    return Router("/", route_handlers=[explain_run], dependencies={"explanations": instance(explanations)})


def _view(decided: Decided, calls: Mapping[UUID, Paid], left_before: Mapping[UUID, Left]) -> DecisionView:
    call = calls.get(decided.call_id) if decided.call_id else None
    left = left_before.get(decided.call_id) if decided.call_id else None
    return DecisionView(
        task=decided.task,
        step=decided.step,
        role=decided.role,
        prompt=decided.prompt,
        at=decided.at,
        answer=decided.text,
        tools=decided.tools,
        memories=decided.memories,
        verdict=None if decided.verdict is None else VerdictView(**decided.verdict),
        grounding=None if decided.grounding is None else msgspec.convert(decided.grounding, GroundingView),
        call=None if call is None else _call_view(call),
        budget_left_usd=None if left is None else usd_text(left.left_nanousd),
        budget_subject=None if left is None else left.subject,
    )


def _call_view(call: Paid) -> CallView:
    return CallView(
        call_id=call.call_id,
        model_asked=call.model_asked,
        model=call.model,
        provider=call.provider,
        why=call.route_reason,
        attempts=call.attempts,
        cache=call.cache,
        latency_ms=call.latency_ms,
        prompt_tokens=call.prompt_tokens,
        completion_tokens=call.completion_tokens,
        cost_usd=call.cost_usd,
        limit_lowered=call.limit_lowered,
        simulated=call.simulated,
    )
