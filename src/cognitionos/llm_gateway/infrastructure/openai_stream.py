"""Events of a stream that arrived at one moment, given on as one: a send for each costs more than all else about it."""

from collections.abc import Sequence

from cognitionos.kernel.value import value
from cognitionos.llm_gateway.application.ports import TOGETHER, Chunk
from cognitionos.llm_gateway.domain.errors import ProviderFailure
from cognitionos.llm_gateway.infrastructure.openai_schema import read_chunk, read_words

_DONE = b"[DONE]"


@value
class Arrived:
    """What arrived at one moment; `failure` came after `chunks`, `is_last` says that nothing follows."""

    chunks: Sequence[Chunk]
    is_last: bool = False
    failure: ProviderFailure | None = None


def read_arrived(events: Sequence[bytes], *, keep_usage: bool) -> Arrived:
    """The events read, as far as they can be."""
    chunks: list[Chunk] = []
    ends = events[-1] == _DONE if events else False
    for data in events:
        if data == _DONE:
            return Arrived(chunks=chunks, is_last=True)
        try:
            chunks.append(read_chunk(data, keep_usage=keep_usage, ends=ends))
        except ProviderFailure as failure:
            return Arrived(chunks=chunks, failure=failure)
    return Arrived(chunks=chunks)


def read_together(events: Sequence[bytes], *, keep_usage: bool) -> Arrived:
    """The same in as few chunks as may be; one that carries usage and nothing else stays apart."""
    ends = events[-1] == _DONE
    words, count = read_words(events[:-1] if ends else events, keep_usage=keep_usage, ends=ends)
    if words is None:
        read = read_arrived(events, keep_usage=keep_usage)
        return Arrived(chunks=_given_together(read.chunks), is_last=read.is_last, failure=read.failure)
    rest = read_arrived(events[count:], keep_usage=keep_usage)
    return Arrived(chunks=[words, *_given_together(rest.chunks)], is_last=rest.is_last, failure=rest.failure)


def _given_together(chunks: Sequence[Chunk]) -> Sequence[Chunk]:
    if len(chunks) < 2:
        return chunks
    last = len(chunks) - 1 if chunks[-1].bare_usage else len(chunks)
    spoken = chunks[:last]
    if any(each.bare_usage for each in spoken):
        return chunks
    return [_joined(spoken), *chunks[last:]] if spoken else chunks


def _joined(chunks: Sequence[Chunk]) -> Chunk:
    usage, reason, tokens, beside, plain, shared = None, None, 0, 0, True, True
    for each in chunks:
        usage, reason = each.usage or usage, each.finish_reason or reason
        tokens, beside = tokens + each.tokens, beside + each.beside
        plain, shared = plain and each.plain, shared and each.shared
    return Chunk(
        data=TOGETHER.join([each.data for each in chunks]),
        text="".join([each.text for each in chunks]),
        tokens=tokens,
        beside=beside,
        finish_reason=reason,
        usage=usage,
        plain=plain,
        shared=shared,
        ends=chunks[0].ends,
    )
