"""A stream that follows an identical call piece by piece: paid by that one, recorded with what it saved."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from cognitionos.llm_gateway.application.call import Started
from cognitionos.llm_gateway.application.completion import Completion
from cognitionos.llm_gateway.application.flow import ABORTED, ERROR, NOT_SENT, OK, check
from cognitionos.llm_gateway.application.ports import TOGETHER, Chunk
from cognitionos.llm_gateway.application.single_flight import Feed, Over, Said
from cognitionos.llm_gateway.domain.chat import CACHE_COALESCED, ChatRequest, Usage
from cognitionos.llm_gateway.domain.errors import StreamBroken
from cognitionos.llm_gateway.domain.route import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """One follower's events, from its feed's first piece on. Whatever happens, its row is written."""

    steps: Completion
    call: Started
    request: ChatRequest
    feed: Feed
    by: Candidate

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Each event, after `NOT_SENT`. Raises `StreamBroken` where the call that is followed breaks off."""
        outcome, over, reason, first_token_ms = ABORTED, Over(), None, self.call.elapsed_ms
        with_usage, usage_said = self.request.include_usage, False
        said: Said = self.feed.first or Over()
        try:
            yield NOT_SENT
            while isinstance(said, Chunk):
                reason = said.finish_reason or reason
                usage_said = usage_said or said.bare_usage
                if with_usage or not said.bare_usage:
                    for event in (said.data,) if self.request.together else said.data.split(TOGETHER):
                        yield event
                said = await self.feed.hear()
            check(said)
            if isinstance(said, Over):
                over = said
            if with_usage and not usage_said and over.usage_event:
                yield over.usage_event
            outcome = OK
        except StreamBroken:
            outcome = ERROR
            raise
        finally:
            self.feed.leave()
            row = self.call.row(
                outcome=outcome,
                candidate=self.by,
                usage=Usage(),
                saved_nanousd=over.cost_nanousd,
                cache=CACHE_COALESCED,
                cache_age_s=0,
                finish_reason=reason,
                first_token_ms=first_token_ms,
            )
            if outcome == ABORTED:
                self.steps.budgets.settle_later(row)
            else:
                await self.steps.budgets.settle(row)
