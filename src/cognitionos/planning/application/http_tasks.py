"""The kind `http`: one request to an allowed host, whose effect happens once however often the task is tried."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cognitionos.kernel.errors import Invalid, Unavailable
from cognitionos.kernel.json_text import read_json, storable
from cognitionos.planning.application.ports import Report
from cognitionos.planning.domain.intake import MOST_IN
from cognitionos.planning.domain.task import ClaimedTask, Succeeded
from cognitionos.platform.crash_points import crash_point, declare

AFTER_SEND = declare("http_task.after_send")
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
MOST_BODY_BYTES = MOST_IN
"""Of an answer: as much as another task may take in."""
_AT_ONCE = 64 * 1024
"""Characters of JSON that are read on the loop; more takes long enough to hold up others."""


class HttpTaskRefused(Invalid):
    """The host refused the request for good, or the task does not say a whole request."""


class HttpAnswerTooLarge(Invalid):
    """The host answered with more than the output of a task may be."""


class HttpTaskPostponed(Unavailable):
    """The host asked to come again later."""


class HttpAnswer(Protocol):
    """What a host said; header names in lower case."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body_text(self) -> str: ...
    @property
    def truncated(self) -> bool: ...


class SendHttp(Protocol):
    """Sends one request to a host that the operator allows, and follows no redirect; `json` `...`: without a body.

    Of the answer it reads `MOST_BODY_BYTES`; with more it is `truncated`.
    """

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = ...,
        idempotency_key: str | None = None,
        timeout_s: float = 30,
    ) -> HttpAnswer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTasks:
    """Does tasks of kind `http`: `{"method", "url", "headers", "json"}`."""

    send: SendHttp

    async def __call__(self, task: ClaimedTask, report: Report) -> Succeeded:
        """The answer as output. Raises `HttpTaskRefused` for good, `HttpTaskPostponed` to be tried again."""
        method, url = str(task.spec.get("method") or "GET"), task.spec.get("url")
        if not isinstance(url, str):
            raise HttpTaskRefused("An http task needs a 'url'.")
        answer = await self.send(
            method,
            url,
            headers=task.spec.get("headers"),
            json=task.spec.get("json", ...),
            idempotency_key=effect_key(task),
            timeout_s=task.timeout_s,
        )
        crash_point(AFTER_SEND)
        if answer.status in _RETRIED:
            raise HttpTaskPostponed(f"The host answered {answer.status}.", retry_after_s=_retry_after(answer.headers))
        if answer.status >= 400:
            raise HttpTaskRefused(f"The host answered {answer.status}.")
        if answer.truncated:
            raise HttpAnswerTooLarge(
                f"The host answered {answer.status} with more than {MOST_BODY_BYTES} bytes, the most that a task of "
                "kind 'http' takes in. Ask for less at once."
            )
        is_long = len(answer.body_text) > _AT_ONCE
        body = await asyncio.to_thread(_body, answer) if is_long else _body(answer)
        return Succeeded(
            output={"status": answer.status, "body": body, **_location(answer.headers)},
            details={"method": method, "status": answer.status},
        )


def effect_key(task: ClaimedTask) -> str:
    """The same for every attempt of the task, and for no other task."""
    return hashlib.sha256(f"{task.run_id}/{task.id}".encode()).hexdigest()[:40]


def _body(answer: HttpAnswer) -> Any:
    if "json" not in answer.headers.get("content-type", ""):
        return storable(answer.body_text)
    try:
        return storable(read_json(answer.body_text))
    except ValueError:
        return storable(answer.body_text)


def _location(headers: Mapping[str, str]) -> dict[str, str]:
    """Where the answer leads to, if it says so: a task that is to go there is another one."""
    return {"location": storable(headers["location"])} if "location" in headers else {}


def _retry_after(headers: Mapping[str, str]) -> float | None:
    seconds = headers.get("retry-after", "")
    return min(float(seconds), 3600.0) if seconds.isascii() and seconds.isdecimal() else None
