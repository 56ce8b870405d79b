"""A model server that costs next to nothing: one fixed chat completion, whole or as a stream of 24 events.

The model `never-answers` keeps its name.

`python -m tests.bench.upstream` prints its port and serves until its standard input closes. Raw asyncio, no parser of
HTTP: it finds the end of each request by its `content-length` and answers on the same connection.
"""

import asyncio
import json
import sys

EVENTS = 24
_USAGE = {"prompt_tokens": 24, "completion_tokens": EVENTS - 2, "total_tokens": EVENTS + 22}
_HEAD = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": "bench-model"}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _whole() -> bytes:
    message = {"role": "assistant", "content": "word " * (EVENTS - 2), "refusal": None}
    choices = [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
    body = _json(_HEAD | {"object": "chat.completion", "choices": choices, "usage": _USAGE})
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _events() -> list[bytes]:
    """Each event as one HTTP chunk; the last two carry the finish reason and the usage."""
    head = _HEAD | {"object": "chat.completion.chunk"}
    deltas: list[dict[str, object]] = [{"role": "assistant", "content": "word "}]
    deltas += [{"content": "word "} for _ in range(EVENTS - 3)]
    events: list[dict[str, object]]
    events = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}], "usage": None} for delta in deltas]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None})
    events.append({"choices": [], "usage": _USAGE})
    texts = [b"data: " + _json(head | event) + b"\n\n" for event in events]
    return [b"%x\r\n%s\r\n" % (len(text), text) for text in [*texts, b"data: [DONE]\n\n"]]


_WHOLE = _whole()
_EVENTS = _events()
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class _Connection(asyncio.Protocol):
    """One kept-alive connection."""

    def __init__(self) -> None:
        self._received = b""
        self._streaming: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._streaming is not None:
            self._streaming.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[:end].lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        body = self._received[end + 4 : end + 4 + length]
        if len(body) < length:
            return
        self._received = self._received[end + 4 + length :]
        if b'"model":"never-answers"' in body:
            return
        if b'"stream":true' in body:
            self._streaming = asyncio.get_running_loop().create_task(self._stream())
        else:
            self._transport.write(_WHOLE)

    async def _stream(self) -> None:
        """One write for each event, as a model's words come one by one."""
        self._transport.write(_STREAM_HEAD)
        for event in _EVENTS:
            self._transport.write(event)
            await asyncio.sleep(0)
        self._transport.write(b"0\r\n\r\n")


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
