"""Texts to vectors: the same ladder of hold, attempt, price, settle; no cache (vectors are kept by who asked)."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cognitionos.kernel.errors import DomainError
from cognitionos.llm_gateway.application.attempts import Attempts
from cognitionos.llm_gateway.application.budgets import Budgets
from cognitionos.llm_gateway.application.call import Resolve, Started
from cognitionos.llm_gateway.application.embedding_batches import DEADLINE_S, EmbeddingBatches, Share, Wish, estimate
from cognitionos.llm_gateway.application.granted import Granted
from cognitionos.llm_gateway.application.ports import Monotonic, Provider
from cognitionos.llm_gateway.domain.chat import Caller, Embeddings, Text, Usage
from cognitionos.llm_gateway.domain.ledger import EMBEDDING, Call
from cognitionos.llm_gateway.domain.price import Price, dearest_tier_of
from cognitionos.platform.telemetry import tracer


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """Embeds texts. Vectors of two models never mix, so `resolve` gives routes without a fallback."""

    resolve: Resolve
    providers: Mapping[str, Provider]
    attempts: Attempts
    budgets: Budgets
    new_id: Callable[[], UUID]
    monotonic: Monotonic
    _batches: EmbeddingBatches = field(init=False)

    def __post_init__(self) -> None:
        """Callers that wait at the same time share calls."""
        object.__setattr__(self, "_batches", EmbeddingBatches(attempts=self.attempts))

    async def embed(
        self, caller: Caller, texts: Sequence[Text], *, model: str | None = None, extra: Mapping[str, Any] | None = None
    ) -> Embeddings:
        """One vector per text, in order, paid for and recorded."""
        with tracer.start_as_current_span("llm.embed"):
            call = Started(
                call_id=self.new_id(),
                caller=caller,
                route=await self.resolve(caller.tenant_id, model),
                started=self.monotonic(),
                kind=EMBEDDING,
                monotonic=self.monotonic,
            )
            most = sum(_length(text) + 8 for text in texts)
            extra = extra or {}
            return await self._embed(await self._hold(call, most, extra), texts, extra, most=most)

    async def _hold(self, call: Started, most_tokens: int, extra: Mapping[str, Any]) -> Granted:
        if (full := self.attempts.no_room(call.route)) is not None:
            raise self.budgets.turned_away(call, full)
        first = call.route.candidates[0]
        price = await self.budgets.price(call.caller.tenant_id, first)
        amount = None if price is None else _held_at(price, extra).upper_bound(most_tokens, 0)
        try:
            return await self.budgets.hold_amount(call, amount, price=price, deadline_s=DEADLINE_S)
        except DomainError as error:
            call.refused(error)
            raise

    async def _embed(
        self, granted: Granted, texts: Sequence[Text], extra: Mapping[str, Any], *, most: int
    ) -> Embeddings:
        call, price = granted.call, granted.prices[0]
        wish = Wish(
            tenant_id=call.caller.tenant_id,
            route=call.route,
            texts=texts,
            extra=extra,
            most=most,
            price=price,
            until=None if price is None else _held_at(price, extra).same_until(most),
            share=asyncio.get_running_loop().create_future(),
        )
        try:
            share = await self._batches.embed(wish)
        except Exception as error:
            row = _with_left(granted, call.row(outcome="error", usage=Usage(), attempts=wish.attempts), wish)
            call.failed(error, row)
            await self.budgets.settle(row)
            raise
        except BaseException:  # cancelled: what a provider has, it will bill
            usage = estimate(most) if wish.attempts else Usage()
            row = call.row(outcome="aborted", usage=usage, attempts=wish.attempts)
            self.budgets.settle_later(granted.priced(row, call.route.candidates[0]))
            raise
        return await self._finish(granted, wish, share)

    async def _finish(self, granted: Granted, wish: Wish, share: Share) -> Embeddings:
        call, done = granted.call, share.done
        row = call.row(
            outcome="ok",
            candidate=done.candidate,
            usage=share.usage,
            cost_nanousd=share.cost_nanousd or 0,
            priced=share.cost_nanousd is not None,
            attempts=done.attempts,
            simulated=done.provider.simulated,
        )
        row = _with_left(granted, row, wish)
        await self.budgets.settle(row)
        return Embeddings(
            call_id=call.call_id,
            vectors=share.vectors,
            provider=done.candidate.provider,
            model=done.candidate.name,
            dimensions=len(share.vectors[0]) if share.vectors else 0,
            usage=share.usage,
            cost_nanousd=row.cost_nanousd,
            priced=row.priced,
            attempts=done.attempts,
            route=call.way(done.candidate, trail=done.trail),
        )


def _held_at(price: Price, extra: Mapping[str, Any]) -> Price:
    """What bounds texts at whichever service tier they are asked for."""
    return price.narrowed(dearest_tier_of(extra), words_only=True)


def _with_left(granted: Granted, row: Call, wish: Wish) -> Call:
    """The row with the texts again for each time that nothing came of them though their provider had them."""
    left = [granted.call.route.candidates[0]] * wish.left
    return granted.with_left(row, left, prompt=estimate(wish.most).prompt) if left else row


def _length(text: Text) -> int:
    """The most tokens it can have."""
    return len(text.encode()) if isinstance(text, str) else len(text)
