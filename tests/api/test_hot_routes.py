"""The hot way and the framework's way through one route: the same answers to the same requests.

A query string, which the route does not read, sends a request the framework's way.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.api_process import api_process
from tests.conftest import Run
from tests.edge import Caller, a_caller

from cognitionos.kernel.principal import Permission
from cognitionos.platform.config import Settings

CHAT = "/v1/chat/completions"
FRAMEWORK = "?way=framework"
MODEL = "simulated/agent"
SAY = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
_OF_ONE_REQUEST = frozenset(
    {"date", "connection", "x-request-id", "x-cognitionos-call-id", "ratelimit", "x-ratelimit-remaining"}
)
_OF_ONE_ANSWER = frozenset({"id", "created"})


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One request; `key` None: without credential."""

    key: str | None
    content: bytes
    kind: str = "application/json"


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    with api_process(settings, {}) as url:
        yield url


@pytest.fixture(scope="module")
def caller(settings: Settings, run: Run) -> Caller:
    made: Caller = run(a_caller(settings, f"hot-{uuid4()}"))
    return made


@pytest.fixture(scope="module")
def reader(settings: Settings, run: Run) -> Caller:
    made: Caller = run(a_caller(settings, f"reader-{uuid4()}", scopes=frozenset({Permission.GOALS_READ})))
    return made


def _both(url: str, sent: Sent) -> tuple[httpx.Response, httpx.Response]:
    headers = {"content-type": sent.kind} | ({"authorization": f"Bearer {sent.key}"} if sent.key else {})
    hot = httpx.post(url + CHAT, content=sent.content, headers=headers, timeout=20)
    framework = httpx.post(url + CHAT + FRAMEWORK, content=sent.content, headers=headers, timeout=20)
    return hot, framework


def _shape(answer: httpx.Response) -> tuple[int, dict[str, str], Any]:
    headers = {name: value for name, value in answer.headers.items() if name not in _OF_ONE_REQUEST}
    headers.pop("x-ratelimit-reset", None)
    if answer.headers["content-type"].startswith("application/json"):
        body = answer.json()
        return answer.status_code, headers, {name: body[name] for name in body if name not in _OF_ONE_ANSWER}
    events = [each.removeprefix("data: ") for each in answer.text.split("\n\n") if each]
    return answer.status_code, headers, [_event(each) for each in events]


def _event(text: str) -> Any:
    if not text.startswith("{"):
        return text
    return {name: value for name, value in json.loads(text).items() if name not in _OF_ONE_ANSWER}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (SAY, 200),
        (SAY | {"stream": True, "stream_options": {"include_usage": True}}, 200),
        (SAY | {"temperature": "0.5"}, 200),
        (SAY | {"temperature": 3}, 400),
        (SAY | {"messages": []}, 400),
        ({"model": MODEL}, 400),
        (SAY | {"messages": [{"role": "nobody", "content": "hello"}]}, 400),
        (SAY | {"model": 5}, 400),
        ([], 400),
    ],
)
def test_a_body_is_answered_the_same_both_ways(url: str, caller: Caller, body: object, status: int) -> None:
    hot, framework = _both(url, Sent(key=caller.key, content=json.dumps(body).encode()))

    assert hot.status_code == status
    assert _shape(hot) == _shape(framework)


def test_what_is_not_json_is_refused_the_same_both_ways(url: str, caller: Caller) -> None:
    for content, kind in ((b"{", "application/json"), (b"", "application/json"), (b"hello", "text/plain")):
        hot, framework = _both(url, Sent(key=caller.key, content=content, kind=kind))

        assert hot.status_code == 400
        assert _shape(hot) == _shape(framework)


def test_a_credential_is_judged_the_same_both_ways(url: str, reader: Caller) -> None:
    content = json.dumps(SAY).encode()
    other = reader.key[:-1] + ("1" if reader.key.endswith("0") else "0")
    for key, status in ((None, 401), ("nonsense", 401), (other, 401), (reader.key, 403)):
        hot, framework = _both(url, Sent(key=key, content=content))

        assert hot.status_code == status
        assert _shape(hot) == _shape(framework)


def test_a_body_above_the_limit_is_refused_the_same_both_ways(url: str, caller: Caller) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(50):
            yield b" " * 2**20

    headers = caller.headers | {"content-type": "application/json"}
    answers = [httpx.post(url + CHAT + way, content=parts(), headers=headers, timeout=20) for way in ("", FRAMEWORK)]

    assert answers[0].status_code == 413
    assert _shape(answers[0]) == _shape(answers[1])


def test_a_request_that_changes_its_way_is_counted_once(settings: Settings, run: Run, url: str) -> None:
    fresh: Caller = run(a_caller(settings, f"counted-{uuid4()}"))
    bodies = [json.dumps(SAY).encode(), b"{", json.dumps(SAY | {"temperature": "1"}).encode()]

    hot = [_both(url, Sent(key=fresh.key, content=body))[0] for body in bodies]
    left = [int(each.headers["x-ratelimit-remaining"]) for each in hot]

    assert [left[0] - each for each in left] == [0, 2, 4]


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/embeddings", "/v1/goals"])
def test_an_encoded_body_is_refused_and_its_encoding_named(url: str, caller: Caller, path: str) -> None:
    headers = caller.headers | {"content-encoding": "gzip", "content-type": "application/json"}

    refused = httpx.post(url + path, content=gzip.compress(b"{}"), headers=headers)

    assert refused.status_code == 415
    assert "'gzip'" in refused.text
