"""Each tenant's rules and calibration, as far as this process knows: read at first use and after every signal."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from cognitionos.llm_gateway.application.ports import Monotonic
from cognitionos.llm_gateway.application.semantic_ports import SemanticStore
from cognitionos.llm_gateway.domain.cached import BORROWED
from cognitionos.llm_gateway.domain.semantic import CACHE_SEMANTIC, ReuseNotFound, SemanticRules, SemanticState
from cognitionos.platform.once import Once

FRESH_S = 10.0
MOST_TENANTS = 10_000
Void = Callable[[UUID, tuple[str, ...]], Awaitable[Any]]
"""Declares a tenant's answers of these scopes void in every layer."""


@dataclass(slots=True, kw_only=True)
class SemanticRulebook:
    """`signal` tells every process that something was written, `woken` is set by it.

    `fresh_s` says how old a tenant's may get: less where Redis is gone or hangs.
    """

    store: SemanticStore
    signal: Callable[[], Awaitable[None]]
    woken: asyncio.Event
    fresh_s: Callable[[float], float]
    void: Void
    monotonic: Monotonic
    _known: dict[UUID, tuple[float, SemanticState]] = field(default_factory=dict)
    _loads: Once[UUID, SemanticState] = field(default_factory=Once)

    async def state(self, tenant_id: UUID) -> SemanticState:
        """The tenant's rules and judgements."""
        if self.woken.is_set():
            self.woken.clear()
            self._known.clear()
            self._loads.forget()
        known = self._known.get(tenant_id)
        if known is not None and self.monotonic() - known[0] < self.fresh_s(FRESH_S):
            return known[1]
        return await self._loads(tenant_id, lambda: self._load(tenant_id))

    async def _load(self, tenant_id: UUID) -> SemanticState:
        now = self.monotonic()
        state = await self.store.state(tenant_id)
        if len(self._known) >= MOST_TENANTS:
            self._known.clear()
        self._known[tenant_id] = (now, state)
        return state

    def is_off(self, tenant_id: UUID) -> bool:
        """Whether the tenant is known not to have turned it on; asks nobody."""
        known = self._known.get(tenant_id)
        return known is not None and not known[1].rules.enabled

    async def changed(self) -> None:
        """Tell every process that rules or judgements were written."""
        await self.signal()

    async def read(self, tenant_id: UUID) -> SemanticState:
        """The state as it is stored now."""
        return await self.store.state(tenant_id)

    async def set_rules(self, tenant_id: UUID, **changes: Any) -> SemanticState:
        """Change some rules; effective at once, in every process. Turned off, what was reused so far is not given again
        under the words that it was reused for."""
        before = (await self.store.state(tenant_id)).rules
        rules: SemanticRules = replace(before, **changes)
        await self.store.set_rules(tenant_id, rules)
        await self.changed()
        if before.enabled and not rules.enabled:
            await self.void(tenant_id, (BORROWED + CACHE_SEMANTIC,))
        return await self.store.state(tenant_id)

    async def judge(self, tenant_id: UUID, call_id: UUID, *, correct: bool) -> SemanticState:
        """The tenant's judgement of a reused answer. A wrong one is forgotten for that question in every layer.

        Raises `ReuseNotFound`.
        """
        reuse = await self.store.judge(tenant_id, call_id, correct=correct)
        if reuse is None:
            raise ReuseNotFound("No answer of this call was reused for its meaning.")
        if not correct:
            await self.void(tenant_id, (f"key:{reuse.key}",))
        await self.changed()
        return await self.store.state(tenant_id)
