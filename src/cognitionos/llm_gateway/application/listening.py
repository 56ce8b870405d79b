"""One chat call whose words are heard as they come, and whose answer is given whole at its end."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from cognitionos.llm_gateway.application.streaming import Streaming
from cognitionos.llm_gateway.domain.answer import finish_reason_of, text_of, tool_calls_of
from cognitionos.llm_gateway.domain.chat import Caller, ChatRequest, ChatResult, Usage
from cognitionos.llm_gateway.domain.gathered import Gathered

Hear = Callable[[str], None]
"""Take the next words of an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Reads a stream to its end. Cancelled on the way, what the provider produced until then is billed."""

    streaming: Streaming

    async def complete(self, caller: Caller, request: ChatRequest, hear: Hear) -> ChatResult:
        """The answer, as `Completion.complete` gives it. Raises what that raises, and `StreamBroken` after words."""
        steps, gathered, said = self.streaming.completion, Gathered(), Usage()
        started = steps.monotonic()
        stream = await self.streaming.open(caller, replace(request, include_usage=True, together=False))
        async with aclosing(stream.events) as events:
            async for data in events:
                event = steps.decode(data)
                said = steps.read_usage(event) or said
                words = gathered.add(event)
                if words:
                    hear(words)
        wire, ended = gathered.wire(), stream.ended
        usage = ended.usage if ended.usage.total else said
        return ChatResult(
            call_id=stream.call_id,
            text=text_of(wire),
            tool_calls=tool_calls_of(wire),
            finish_reason=finish_reason_of(wire),
            provider=stream.provider,
            model=stream.model,
            usage=usage,
            cost_nanousd=ended.cost_nanousd,
            priced=ended.priced,
            cache=stream.cache,
            cache_key=stream.cache_key,
            cache_age_s=stream.cache_age_s,
            similarity=stream.similarity,
            attempts=stream.attempts,
            route=stream.route,
            simulated=stream.simulated,
            limit_lowered=stream.limit_lowered,
            downgraded=stream.downgraded,
            latency_ms=round((steps.monotonic() - started) * 1000),
            wire=wire | {"usage": steps.write_usage(usage)},
        )
