"""The semantic cache over HTTP: its rules, what is known of its errors, and the tenant's own judgements."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Controller, Router, get, post, put
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cognitionos.kernel.errors import Invalid
from cognitionos.kernel.principal import Permission, Principal
from cognitionos.llm_gateway.application.semantic_rules import SemanticRulebook
from cognitionos.llm_gateway.domain.semantic import SemanticState
from cognitionos.llm_gateway.domain.semantic_calibration import BOUNDS, CONFIDENCE, LEVELS
from cognitionos.llm_gateway.infrastructure.semantic_store import PostgresSemanticStore, SemanticCounts
from cognitionos.platform.http_api import instance, problems, requires

LONGEST_TTL_S = 7 * 86_400


class ErrorBoundRefused(Invalid):
    """The share of reused answers that may be wrong is one of 0.01, 0.02 and 0.05."""


class SetSemanticCache(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What is left out stays as it is. `error_bound` is the share of reused answers that may be wrong.

    `shadow_rate` is the share of hits that is asked anew, at the price of a call, to compare the answers.
    """

    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    error_bound: float | msgspec.UnsetType = msgspec.UNSET
    ttl_s: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_TTL_S)] | msgspec.UnsetType = msgspec.UNSET
    shadow_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] | msgspec.UnsetType = msgspec.UNSET


class SemanticLevel(msgspec.Struct, frozen=True, kw_only=True):
    """Judged reuses that were this sure and less sure than the next level."""

    sure: float
    judged: int
    wrong: int


class SemanticCalibration(msgspec.Struct, frozen=True, kw_only=True):
    """From how sure on answers are reused. `threshold` null: none is, since `error_bound` cannot be kept.

    `state`: shipped (where every tenant starts), raised, lowered or off. `judged` and `wrong` are reuses at the
    threshold and above, `proven_at_most` is the share of wrong ones that is certain with `confidence`.
    """

    state: str
    threshold: float | None
    judged: int
    wrong: int
    proven_at_most: float
    confidence: float
    levels: list[SemanticLevel]


class SemanticCacheView(msgspec.Struct, frozen=True, kw_only=True):
    """The rules, the calibration, and how many answers are kept and were reused in the last 90 days."""

    enabled: bool
    error_bound: float
    ttl_s: int
    shadow_rate: float
    calibration: SemanticCalibration
    answers: int
    reused: int
    judged_by: dict[str, int]


class CacheFeedback(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Whether the answer reused for the call (`x-cognitionos-call-id`) was right."""

    call_id: UUID
    correct: bool


class SemanticRoutes(Controller):
    """Answers to questions that mean the same."""

    path = "/v1/cache"
    tags = ("cache",)

    @get("/semantic", guards=[requires(Permission.USAGE_READ)], summary="Read the semantic cache's state")
    async def read_semantic(
        self,
        semantic_rules: NamedDependency[SemanticRulebook],
        semantic_store: NamedDependency[PostgresSemanticStore],
        who: NamedDependency[Principal],
    ) -> SemanticCacheView:
        """Off until the tenant turns it on."""
        state = await semantic_rules.read(who.tenant_id)
        return _view(state, await semantic_store.counts(who.tenant_id))

    @put(
        "/semantic",
        guards=[requires(Permission.MODELS_ADMIN)],
        summary="Set the semantic cache's rules",
        responses=problems(422),
    )
    async def set_semantic(
        self,
        data: JSONBody[SetSemanticCache],
        semantic_rules: NamedDependency[SemanticRulebook],
        semantic_store: NamedDependency[PostgresSemanticStore],
        who: NamedDependency[Principal],
    ) -> SemanticCacheView:
        """Effective at once, in every process. Turned off and on again it forgets its judgements and starts anew."""
        given = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
        if given.get("error_bound", BOUNDS[0]) not in BOUNDS:
            raise ErrorBoundRefused("'error_bound' is 0.01, 0.02 or 0.05.", fields={"error_bound": "not one of these"})
        state = await semantic_rules.set_rules(who.tenant_id, **given)
        return _view(state, await semantic_store.counts(who.tenant_id))

    @post(
        "/feedback",
        status_code=200,
        guards=[requires(Permission.MODELS_CALL)],
        summary="Judge a reused answer",
        responses=problems(404),
    )
    async def judge(
        self,
        data: JSONBody[CacheFeedback],
        semantic_rules: NamedDependency[SemanticRulebook],
        who: NamedDependency[Principal],
    ) -> SemanticCalibration:
        """A wrong one is not given for that question again, and counts against `error_bound`."""
        return _calibration(await semantic_rules.judge(who.tenant_id, data.call_id, correct=data.correct))


def routes(*, rulebook: SemanticRulebook, store: PostgresSemanticStore) -> Router:
    """The router."""
    return Router(
        "/",
        route_handlers=[SemanticRoutes],
        dependencies={"semantic_rules": instance(rulebook), "semantic_store": instance(store)},
    )


def _view(state: SemanticState, counts: SemanticCounts) -> SemanticCacheView:
    rules = state.rules
    return SemanticCacheView(
        enabled=rules.enabled,
        error_bound=rules.error_bound,
        ttl_s=rules.ttl_s,
        shadow_rate=rules.shadow_rate,
        calibration=_calibration(state),
        answers=counts.answers,
        reused=counts.reused,
        judged_by=dict(counts.judged_by),
    )


def _calibration(state: SemanticState) -> SemanticCalibration:
    found = state.calibration
    levels = zip(LEVELS, state.tallies, strict=True)
    return SemanticCalibration(
        state=found.state,
        threshold=found.threshold,
        judged=found.tally.judged,
        wrong=found.tally.wrong,
        proven_at_most=round(found.at_most, 4),
        confidence=CONFIDENCE,
        levels=[SemanticLevel(sure=sure, judged=each.judged, wrong=each.wrong) for sure, each in levels if each.judged],
    )
