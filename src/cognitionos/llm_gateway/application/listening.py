"""One chat call whose words are heard as they come, and whose answer is given whole at its end."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from cognitionos.llm_gateway.application.completion import Completion
from cognitionos.llm_gateway.application.streaming import ChatStream, Streaming
from cognitionos.llm_gateway.domain.answer import finish_reason_of, text_of, tool_calls_of
from cognitionos.llm_gateway.domain.chat import Caller, ChatRequest, ChatResult, Usage
from cognitionos.llm_gateway.domain.gathered import Gathered

Hear = Callable[[str], None]
"""Take the next words of an answer."""


@dataclass(slots=True, kw_only=True)
class _Listener:
    """Reads one stream; `hear` None: whoever wanted its words has left."""

    steps: Completion
    stream: ChatStream
    hear: Hear | None
    gathered: Gathered = field(default_factory=Gathered)
    said: Usage = Usage()

    async def read(self) -> None:
        async with aclosing(self.stream.events) as events:
            async for data in events:
                event = self.steps.decode(data)
                self.said = self.steps.read_usage(event) or self.said
                words = self.gathered.add(event)
                if words and self.hear is not None:
                    self.hear(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Reads a stream to its end. Cancelled on the way, what the provider produced until then is billed.

    It is read in a task of its own: others may depend on the read that is under way, which must not be cancelled then.
    """

    streaming: Streaming

    async def complete(self, caller: Caller, request: ChatRequest, hear: Hear) -> ChatResult:
        """The answer, as `Completion.complete` gives it. Raises what that raises, and `StreamBroken` after words."""
        steps = self.streaming.completion
        started = steps.monotonic()
        stream = await self.streaming.open(caller, replace(request, include_usage=True, together=False))
        listener = _Listener(steps=steps, stream=stream, hear=hear)
        reading = asyncio.create_task(listener.read(), name="llm_gateway.listener")
        try:
            await asyncio.shield(reading)
        except asyncio.CancelledError:
            listener.hear = None
            self.streaming.leave(stream, reading)
            raise
        wire, ended = listener.gathered.wire(), stream.ended
        usage = ended.usage if ended.usage.total else listener.said
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
