"""JSON over HTTP to a provider: one base URL, its headers, and what its refusals mean."""

import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any

import aiohttp
import msgspec

from cognitionos.llm_gateway.domain.errors import AnswerLost, ModelMissing, ProviderFailure, RequestRefused
from cognitionos.llm_gateway.infrastructure.arriving_events import ArrivingEvents, Silent
from cognitionos.llm_gateway.infrastructure.openai_schema import decode_object, encode, error_details, error_text
from cognitionos.llm_gateway.infrastructure.redaction import Redaction
from cognitionos.platform.http import HttpClient
from cognitionos.platform.http_exchange import Exchange
from cognitionos.platform.telemetry import in_trace, inject

Response = Exchange | aiohttp.ClientResponse
_OUT_OF_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_error"})
SAID_ON = frozenset({413, 422})
"""Refusals that the SDKs know by errors of their own: too large, and not to be processed."""
_OF_WHAT_IT_NAMES = frozenset({404, 409})
"""With an `error_code`: not the model is missing and nothing is busy, but a thread, a file, what the request names."""
_NO_CREDIT = "credit balance is too low"
"""How Anthropic words an empty account, under status 400."""
_PLACE = re.compile(r"([a-z_]+(?:\.\w+)*): ")
"""How Anthropic begins to say what is wrong with a field."""


class JsonServer:
    """A provider's API. Transport errors are failures of the attempt; redirects are not followed.

    `key` is what its headers carry: whatever it says of a request, that is not in it.
    """

    def __init__(self, http: HttpClient, *, base_url: str, headers: Mapping[str, str], key: str | None) -> None:
        self.base_url = base_url.rstrip("/")
        self._http = http
        self._redacted = Redaction(key)
        self._headers = {"content-type": "application/json", **headers}

    async def get(self, path: str) -> dict[str, Any]:
        """The JSON object at `path`."""
        carried = dict(self._headers)
        inject(carried)
        try:
            response = await self._http.session.get(self.base_url + path, headers=carried, allow_redirects=False)
            async with response:
                if response.status != 200:
                    raise await _refusal(response, self._redacted)
                return await _json(response)
        except aiohttp.ClientError as error:
            raise _no_answer(error) from error

    async def post(
        self, path: str, body: Mapping[str, Any], *, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The JSON object that `body` is answered with."""
        try:
            async with await self._open(path, body, headers) as response:
                return await _json(response)
        except aiohttp.ClientError as error:
            raise _no_answer(error) from error

    def sent(
        self, path: str, body: Mapping[str, Any], *, first_words_s: float, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[ArrivingEvents]:
        """The events that answer a request, once its status is 200. `first_words_s`: so long they may take to come."""
        return _Sent(
            lambda: self._open(path, body, headers),
            longest_silence_s=self._http.longest_silence_s,
            first_words_s=first_words_s,
            redacted=self._redacted,
        )

    async def _open(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None) -> Exchange:
        """The answer, once its status is 200; whoever takes it leaves it."""
        carried = self._headers if headers is None else {**self._headers, **headers}
        traced: dict[str, str] = {}
        if in_trace():
            inject(traced)
        response = await self._http.post(self.base_url + path, encode(body), carried, more=traced)
        if response.status != 200:
            async with response:
                raise await _refusal(response, self._redacted)
        return response


class _Sent:
    """An answer for a block. No generator: there is one for each stream."""

    __slots__ = ("_events", "_first_words_s", "_longest_silence_s", "_open", "_redacted", "_response")

    def __init__(
        self,
        open_: Callable[[], Awaitable[Exchange]],
        *,
        longest_silence_s: float,
        first_words_s: float,
        redacted: Redaction,
    ) -> None:
        self._open = open_
        self._redacted = redacted
        self._longest_silence_s = longest_silence_s
        self._first_words_s = first_words_s

    async def __aenter__(self) -> ArrivingEvents:
        try:
            self._response = await self._open()
        except aiohttp.ClientError as error:
            raise _no_answer(error) from error
        self._events = ArrivingEvents(
            self._response.content, longest_silence_s=self._longest_silence_s, first_words_s=self._first_words_s
        )
        return self._events

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.stop()
        await self._response.__aexit__(kind, error, trace)
        if isinstance(error, aiohttp.ClientError):
            raise _no_answer(error) from error
        if isinstance(error, ProviderFailure):  # what it said in the middle of a stream
            error.args = (self._redacted(str(error)),)
            error.details = _without_key(error.details, self._redacted)


def _no_answer(error: aiohttp.ClientError) -> ProviderFailure:
    if isinstance(error, Silent):
        return AnswerLost(str(error), why="silent")
    if isinstance(error, aiohttp.ClientPayloadError):
        return AnswerLost("its answer was cut", why="no-answer")
    return ProviderFailure(f"no answer ({type(error).__name__})", why="no-answer")


async def _json(response: Response) -> dict[str, Any]:
    try:
        return decode_object(await response.read())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AnswerLost("the answer is not a JSON object") from error
    except RecursionError as error:
        raise AnswerLost("the answer is nested too deeply") from error


async def _refusal(response: Response, redacted: Redaction) -> ProviderFailure | RequestRefused:
    """What a status other than 200 means: try elsewhere, try again, or tell the caller that the request is wrong."""
    status, text = response.status, (await response.read()).decode(errors="replace")
    try:
        body: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        body = text
    said = redacted(error_text(body)) or f"status {status}"
    details = _without_key(error_details(body), redacted)
    error = _meaning(status, body, said, details, response.headers)
    error.details = details
    return error


def _meaning(
    status: int, body: Any, said: str, details: Mapping[str, Any] | None, headers: Mapping[str, str]
) -> ProviderFailure | RequestRefused:
    if status in _OF_WHAT_IT_NAMES and details is not None and isinstance(details.get("error_code"), str):
        return _refused(status, body, said)
    if status in {401, 403}:
        return ProviderFailure(f"it does not accept our key (status {status})", again=False, why="key-refused")
    if status == 404:
        return ModelMissing(said)
    if status == 402 or _NO_CREDIT in said:
        return ProviderFailure(f"status {status}: {said}", again=False)
    if status in {408, 409, 429} or status >= 500:
        broke = isinstance(body, dict) and bool({_field(body, "code"), _field(body, "type")} & _OUT_OF_MONEY)
        return ProviderFailure(
            f"status {status}: {said}",
            again=not broke,
            retry_after_s=retry_after(headers),
            why=f"status-{status}",
            broken=broke or status != 429,  # busy is not broken
        )
    if 300 <= status < 400:
        return ProviderFailure(f"it redirects (status {status}); use the final address", again=False)
    return _refused(status, body, said)


def _refused(status: int, body: Any, said: str) -> RequestRefused:
    place = _PLACE.match(said)
    param = (_field(body, "param") if isinstance(body, dict) else None) or (place[1] if place else None)
    refusal = RequestRefused(f"The provider refused the request: {said}", fields={param: said} if param else None)
    refusal.status = status if status in SAID_ON | _OF_WHAT_IT_NAMES else None
    return refusal


def _without_key(details: Mapping[str, Any] | None, redacted: Redaction) -> Mapping[str, Any] | None:
    """The details, unless our key is a part of them."""
    text = "" if details is None else msgspec.json.encode(details).decode()
    return details if redacted(text) == text else None


def _field(body: dict[str, Any], name: str) -> str | None:
    inner = body.get("error", body)
    value = inner.get(name) if isinstance(inner, dict) else None
    return value if isinstance(value, str) else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from `retry-after-ms` or `Retry-After` (RFC 9110, section 10.2.3: seconds or a date)."""
    milliseconds, said = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if milliseconds is not None:
            return max(float(milliseconds) / 1000, 0.0)
        return None if said is None else max(float(said), 0.0)
    except ValueError:
        pass
    try:
        return max((parsedate_to_datetime(said or "") - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None
