"""The API and a worker over a model that follows a scenario, and what tests of agents ask them."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import httpx
from pydantic import SecretStr
from tests.edge import a_caller, client_of, running_app
from tests.upstream import Say, Upstream, running_upstream
from tests.waiting import eventually

from cognitionos import composition
from cognitionos.llm_gateway.domain.scenario import Conversation, Rule, rules_from
from cognitionos.platform.config import Settings

Rules = Sequence[Mapping[str, Any]]
WRITES_A_NOTE: Rules = (
    {
        "contains": ["write it down"],
        "tool_results": 0,
        "call": [{"name": "write_file", "arguments": {"name": "note.md", "text": "Sea."}}],
    },
    {"contains": ["write it down"], "say": "It is in note.md."},
)
Speak = Callable[[dict[str, Any]], Say]


def speaking(rules: Rules) -> Any:
    """An upstream's `speak` that follows a scenario (`llm_gateway/domain/scenario.py`)."""
    made: tuple[Rule, ...] = rules_from(list(rules), where="test")

    def speak(body: dict[str, Any]) -> Say:
        offered = frozenset(tool["function"]["name"] for tool in body.get("tools") or ())
        conversation = Conversation.of(body["messages"])
        for rule in made:
            reply = rule.reply(conversation, offered=offered)
            if reply is not None:
                calls = [
                    {
                        "id": f"call_{len(body['messages'])}_{number}",
                        "type": "function",
                        "function": {"name": name, "arguments": json.dumps(arguments)},
                    }
                    for number, (name, arguments) in enumerate(reply.calls)
                ]
                return Say(text=reply.text, tool_calls=calls)
        return Say(text="No rule fits.")

    return speak


def connected(settings: Settings, upstream: Upstream) -> Settings:
    """`settings` whose default model is the upstream's."""
    changes = {
        "openai_base_url": upstream.base_url,
        "openai_api_key": SecretStr(upstream.api_key or ""),
        "model": "openai/gpt-4o-mini",
        "rate_limit_per_minute": 100_000,
    }
    return settings.model_copy(update=changes)


async def a_stage(stack: AsyncExitStack, settings: Settings, rules: Rules) -> httpx.AsyncClient:
    """A client of an application whose model speaks by `rules`, with a worker beside it."""
    return (await a_stage_for(stack, settings, speaking(rules))).client


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What runs: the model's server, the application, its settings, a client of a tenant."""

    upstream: Upstream
    settings: Settings
    app: Any
    client: httpx.AsyncClient

    async def another_tenant(self, stack: AsyncExitStack) -> httpx.AsyncClient:
        """A client of somebody else."""
        caller = await a_caller(self.settings, "others")
        return await stack.enter_async_context(client_of(self.app, caller))


async def a_stage_for(stack: AsyncExitStack, settings: Settings, speak: Speak, *, http_allow: bool = False) -> Stage:
    """An application whose model speaks like this, with a worker beside it; `http_allow`: tasks may ask its server."""
    upstream = await stack.enter_async_context(running_upstream(speak=speak))
    told = connected(settings, upstream)
    if http_allow:
        told = told.model_copy(update={"http_allow": (upstream.base_url.split("/")[2],)})
    app = await stack.enter_async_context(running_app(told))
    client = await stack.enter_async_context(client_of(app, await a_caller(told, "agents")))
    services = composition.build(told)
    await services.open()
    stack.push_async_callback(services.close)
    engine = asyncio.create_task(services.planning.engine.run())

    async def stop() -> None:
        engine.cancel()
        await asyncio.gather(engine, return_exceptions=True)

    stack.push_async_callback(stop)
    return Stage(upstream=upstream, settings=told, app=app, client=client)


class Host(Protocol):
    """A server that tasks may ask."""

    address: str


H = TypeVar("H", bound=Host)


async def a_stage_beside(
    stack: AsyncExitStack, settings: Settings, host: AbstractAsyncContextManager[H]
) -> tuple[Stage, H]:
    """A stage whose tasks may ask this host, opened here; its model says one thing."""
    opened = await stack.enter_async_context(host)
    told = settings.model_copy(update={"http_allow": (opened.address,)})
    return await a_stage_for(stack, told, lambda _: Say(text="Done.")), opened


async def run_of(
    client: httpx.AsyncClient, name: str, task: Mapping[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A workflow of this one task, run to its end; the run and its tasks."""
    made = await client.post("/v1/workflows", json={"name": name, "tasks": {"t": task}})
    assert made.status_code == 201, made.text
    started = await client.post("/v1/runs", json={"workflow": name})
    assert started.status_code == 202, started.text
    href = f"/v1/runs/{started.json()['id']}"

    async def look() -> dict[str, Any]:
        found: dict[str, Any] = (await client.get(href)).json()
        return found if found["status"] in {"succeeded", "failed"} else {}

    run: dict[str, Any] = await eventually(look, timeout_s=30)
    return run, (await client.get(f"{href}/tasks")).json()["items"]


async def goal_of(client: httpx.AsyncClient, statement: str, **given: Any) -> dict[str, Any]:
    """A goal at its end."""
    taken = await client.post("/v1/goals", json={"statement": statement, "budget_usd": "1.00", **given})
    assert taken.status_code == 202, taken.text
    href = taken.json()["href"]

    async def look() -> dict[str, Any]:
        found: dict[str, Any] = (await client.get(href)).json()
        return found if found["status"] in {"succeeded", "failed"} else {}

    ended: dict[str, Any] = await eventually(look, timeout_s=30)
    return ended


def fields_wanted(body: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of the JSON schema that the model is to fill; none where it answers in words."""
    schema = ((body.get("response_format") or {}).get("json_schema") or {}).get("schema") or {}
    return dict(schema.get("properties") or {})


async def steps_of(client: httpx.AsyncClient, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the run's agents did."""
    answer = await client.get(f"/v1/runs/{run['id']}/steps?limit=200")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found
