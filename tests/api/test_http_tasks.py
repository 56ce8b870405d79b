"""The kind `http` over HTTP: one request as it was given, and its answer whole or not at all."""

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from tests.api.agent_stage import Stage, a_stage_beside, run_of
from tests.conftest import Run
from tests.serving import serving
from tests.waiting import eventually

from cognitionos.platform.config import Settings

LIMIT = 8 * 2**20


@dataclass(kw_only=True)
class Host:
    """Answers each path as it is told to and remembers the bodies that came, by path."""

    address: str = ""
    answers: dict[str, web.Response] = field(default_factory=dict)
    bodies: defaultdict[str, list[tuple[str, bytes, str | None]]] = field(default_factory=lambda: defaultdict(list))

    def url(self, path: str) -> str:
        return f"http://{self.address}{path}"

    async def answer(self, request: web.Request) -> web.Response:
        came = (request.method, await request.read(), request.headers.get("content-type"))
        self.bodies[request.path].append(came)
        return self.answers.get(request.path) or web.json_response({"ok": True})


@asynccontextmanager
async def a_host() -> AsyncIterator[Host]:
    host, app = Host(), web.Application(client_max_size=2 * LIMIT)
    app.router.add_route("*", "/{path:.*}", host.answer)
    async with serving(app) as address:
        host.address = address
        yield host


@pytest.fixture(scope="module")
def both(settings: Settings, run: Run) -> Iterator[tuple[Stage, Host]]:
    stack = AsyncExitStack()
    yield run(a_stage_beside(stack, settings, a_host()))
    run(stack.aclose())


def get(url: str, **more: Any) -> dict[str, Any]:
    return {"kind": "http", "input": {"url": url, **more}}


async def output_of(client: Any, run: dict[str, Any]) -> Any:
    return (await client.get(f"{run['tasks_href']}/t")).json()["output"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_the_answer_and_nothing_is_sent_where_it_leads(
    both: tuple[Stage, Host], status: int
) -> None:
    stage, host = both
    there, path = host.url(f"/there{status}"), f"/moved{status}"
    host.answers[path] = web.Response(status=status, headers={"location": there}, text="moved")

    run, [task] = await run_of(stage.client, f"moved{status}", get(host.url(path), method="POST", json={"pay": 3}))

    assert run["status"] == "succeeded", run
    assert task["output"] == {"status": status, "body": "moved", "location": there}
    assert (len(host.bodies[path]), host.bodies[f"/there{status}"]) == (1, [])


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [
        ("null", {"json": None}, b"null"),
        ("none", {}, b""),
        ("false", {"json": False}, b"false"),
        ("zero", {"json": 0}, b"0"),
    ],
)
async def test_a_body_that_is_given_is_sent_also_null(
    both: tuple[Stage, Host], name: str, given: dict[str, Any], sent: bytes
) -> None:
    stage, host = both

    run, _ = await run_of(stage.client, f"json_{name}", get(host.url(f"/json_{name}"), method="POST", **given))

    [(_, body, kind)] = host.bodies[f"/json_{name}"]
    assert (run["status"], body) == ("succeeded", sent)
    assert (kind == "application/json") is bool(given)


async def test_megabytes_are_read_whole_and_sent_on_by_reference(both: tuple[Stage, Host]) -> None:
    stage, host = both
    rows = [{"id": n, "name": f"é customer {n}"} for n in range(60_000)]
    host.answers["/rows"] = web.Response(text=json.dumps(rows), content_type="application/json")
    tasks = {
        "read": get(host.url("/rows")),
        "send": {
            **get(host.url("/sink"), method="POST", json={"$ref": "tasks.read.output.body"}),
            "depends_on": ["read"],
        },
    }
    made = await stage.client.post("/v1/workflows", json={"name": "rows", "tasks": tasks})
    assert made.status_code == 201, made.text

    started = (await stage.client.post("/v1/runs", json={"workflow": "rows"})).json()

    async def ended() -> Any:
        shown = (await stage.client.get(f"/v1/runs/{started['id']}")).json()
        return shown if shown["finished_at"] else None

    run = await eventually(ended, timeout_s=30)
    assert run["status"] == "succeeded", run
    [(_, body, _)] = host.bodies["/sink"]
    assert len(body) > 2**20
    assert json.loads(body) == rows


async def test_an_answer_beyond_the_limit_fails_and_names_it(both: tuple[Stage, Host]) -> None:
    stage, host = both
    host.answers["/fits"] = web.Response(text="x" * LIMIT)
    host.answers["/beyond"] = web.Response(text="x" * (LIMIT + 1))

    fits, _ = await run_of(stage.client, "fits", get(host.url("/fits")))
    beyond, _ = await run_of(stage.client, "beyond", get(host.url("/beyond")))

    assert fits["status"] == "succeeded", fits
    assert await output_of(stage.client, fits) == {"status": 200, "body": "x" * LIMIT}
    assert (beyond["status"], beyond["error"]["type"]) == ("failed", "/problems/http-answer-too-large")
    assert f"more than {LIMIT} bytes" in beyond["error"]["detail"]
    assert len(host.bodies["/beyond"]) == 1  # it is no better the next time


async def test_what_cannot_be_stored_of_an_answer_is_u_fffd(both: tuple[Stage, Host]) -> None:
    stage, host = both
    host.answers["/odd"] = web.Response(
        text='{"k\\u0000": "a\\u0000b\\ud800c\\ud83d\\ude00"}', content_type="application/json"
    )

    run, [task] = await run_of(stage.client, "odd", get(host.url("/odd")))

    assert run["status"] == "succeeded", run
    assert task["output"] == {"status": 200, "body": {"k\ufffd": "a\ufffdb\ufffdc\U0001f600"}}
