"""What goes wrong before a handler runs has the vendor's shape too, on every route of the vendor's."""

import httpx
import pytest
from tests.edge import Caller
from tests.upstream import Say, Upstream

ROUTES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses": {"input": "hi"},
    "/v1/embeddings": {"input": "hi"},
    "/v1/messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "hi"}]},
}
JSON = {"content-type": "application/json"}
BODIES = {
    "no UTF-8": (b'{"model": "\xff"}', "it is not UTF-8"),
    "deep": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "it is nested too deeply"),
    "cut": (b'{"model": ', "truncated"),
    "NaN": (b'{"temperature": NaN}', "invalid character"),
    "nothing": (b"", "a JSON body is required"),
    "a list": (b"[]", "Expected 'object'"),
}


def error_of(answer: httpx.Response, path: str) -> dict[str, object]:
    body = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert ("request_id" in body) == path.startswith("/v1/messages")
    error: dict[str, object] = body["error"]
    return error


@pytest.mark.parametrize("path", ROUTES)
def test_a_body_that_cannot_be_read_is_a_400_that_says_why(url: str, caller: Caller, path: str) -> None:
    with httpx.Client(base_url=url, headers=caller.headers | JSON, timeout=30) as client:
        for name, (body, why) in BODIES.items():
            answer = client.post(path, content=body)

            error = error_of(answer, path)
            assert (answer.status_code, error["type"], error["code"]) == (
                400,
                "invalid_request_error",
                "invalid-request",
            ), name
            assert why in str(error["message"]), name


@pytest.mark.parametrize("path", ROUTES)
def test_another_method_a_missing_key_and_a_reused_key_have_the_vendors_shape(
    url: str, caller: Caller, path: str
) -> None:
    once = caller.headers | {"idempotency-key": f"once {path}"}
    with httpx.Client(base_url=url, timeout=30) as client:
        get = client.get(path, headers=caller.headers)
        nobody = client.post(path, json=ROUTES[path])
        model = {"model": "local/wordllama" if path == "/v1/embeddings" else "simulated/m"}
        client.post(path, json=ROUTES[path] | model, headers=once).raise_for_status()
        other = client.post(path, json=ROUTES[path] | model | {"user": "u"}, headers=once)

    assert (get.status_code, error_of(get, path)["code"], "POST" in get.headers["allow"]) == (
        405,
        "method-not-allowed",
        True,
    )
    assert (nobody.status_code, error_of(nobody, path)["type"]) == (401, "authentication_error")
    assert error_of(other, path)["code"] == "idempotency-key-reused"


@pytest.mark.parametrize("status", [413, 422])
async def test_a_refusal_that_the_sdks_know_keeps_its_status(
    url: str, caller: Caller, upstream: Upstream, status: int
) -> None:
    for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages"):
        upstream.then(Say(status=status))
        async with httpx.AsyncClient(base_url=url, headers=caller.headers, timeout=30) as client:
            answer = await client.post(path, json=ROUTES[path] | {"model": "openai/m"})
        assert (answer.status_code, error_of(answer, path)["code"]) == (status, "request-refused"), path
        too_large = path == "/v1/messages" and status == 413
        assert error_of(answer, path)["type"] == ("request_too_large" if too_large else "invalid_request_error")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/no-such-thing", 404),
        ("POST", "/v1/chat/completions/x", 404),
        ("DELETE", "/v1/chat/completions", 405),
        ("GET", "/v1/responses/resp_1", 404),
        ("PUT", "/v1/embeddings", 405),
        ("POST", "/v1/models", 405),
        ("DELETE", "/v1/models/gpt-4o-mini", 405),
        ("GET", "/v1/messages/batches", 404),
        ("PATCH", "/v1/messages", 405),
    ],
)
def test_a_path_or_method_that_a_vendor_has_and_we_have_not_is_refused_in_its_shape(
    url: str, caller: Caller, method: str, path: str, status: int
) -> None:
    answer = httpx.request(method, url + path, headers=caller.headers, timeout=30)

    code = "not-found" if status == 404 else "method-not-allowed"
    assert (answer.status_code, error_of(answer, path)["code"]) == (status, code)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/files/file-1/content", "/v1/audio/speech", "/v1/batches"])
def test_what_a_vendor_has_and_we_have_not_is_a_404_in_the_shape_of_who_asks(
    url: str, caller: Caller, path: str
) -> None:
    openai = httpx.post(url + path, headers=caller.headers, json={}, timeout=30)
    anthropic = httpx.get(url + path, headers=caller.headers | {"anthropic-version": "2023-06-01"}, timeout=30)
    ours = httpx.get(url + "/v1/nothing", headers=caller.headers, timeout=30)

    assert (openai.status_code, error_of(openai, path)["type"]) == (404, "invalid_request_error")
    assert (anthropic.status_code, anthropic.json()["error"]["type"]) == (404, "not_found_error")
    assert ours.headers["content-type"] == "application/problem+json"
