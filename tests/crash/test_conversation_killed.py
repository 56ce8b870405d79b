"""Turns of conversations whose API process is killed in the middle: a worker ends them, nothing is done twice."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.api.agent_stage import WRITES_A_NOTE, Rules, speaking
from tests.crash.kit import a_product, its_child_died
from tests.edge import Caller, a_caller
from tests.upstream import Say, Upstream, running_upstream
from tests.waiting import eventually

from cognitionos import composition
from cognitionos.cli.crash_test.processes import Processes
from cognitionos.cli.listening import answers_ready, free_port
from cognitionos.composition import Services
from cognitionos.kernel.ids import new_id
from cognitionos.kernel.principal import Permission, Principal
from cognitionos.platform.config import Settings

RULES: Rules = [
    *WRITES_A_NOTE,
]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Processes of the product, a model, and the same database seen from here."""

    product: Processes
    upstream: Upstream
    caller: Caller
    services: Services

    async def api(self, *, crash_point: str | None = None) -> tuple[asyncio.subprocess.Process, httpx.AsyncClient]:
        port = free_port("127.0.0.1", 0)
        process = await self.product.api(port, crash_point=crash_point)
        url = f"http://127.0.0.1:{port}"
        await eventually(lambda: asyncio.to_thread(answers_ready, url), timeout_s=120)
        return process, httpx.AsyncClient(base_url=url, headers=self.caller.headers, timeout=60)

    async def ended(self, talk: str) -> Any:
        async def look() -> Any:
            tenant, reads = self.caller.tenant_id, self.services.agents.conversing.talks
            [turn] = await reads.turns(tenant, UUID(talk), after=0, limit=1)
            return turn if turn.status.is_final else None

        return await eventually(look, timeout_s=60)


@asynccontextmanager
async def a_scene(settings: Settings) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(running_upstream(speak=speaking(RULES)))
        told = {"OPENAI_BASE_URL": upstream.base_url, "OPENAI_API_KEY": upstream.api_key or ""}
        product = await stack.enter_async_context(
            a_product(settings, COGNITIONOS_MODEL="openai/gpt-4o-mini", COGNITIONOS_DETECT_LOCAL_MODELS="false", **told)
        )
        product.environment["COGNITIONOS_LEASE_S"] = "2"
        services = composition.build(settings)
        await services.open()
        stack.push_async_callback(services.close)
        caller = await a_caller(settings, f"killed-{new_id()}")
        yield Scene(product=product, upstream=upstream, caller=caller, services=services)


async def a_talk(client: httpx.AsyncClient) -> str:
    made = await client.post("/v1/conversations", json={})
    assert made.status_code == 201, made.text
    talk: str = made.json()["id"]
    return talk


async def test_a_worker_answers_after_the_api_was_killed_in_the_middle_of_a_word(settings: Settings) -> None:
    async with a_scene(settings) as scene:
        scene.upstream.then(Say(text="never " * 500, pause_s=0.2), Say(text="Whole again."))
        api, client = await scene.api()
        async with client:
            talk = await a_talk(client)
            body = {"content": "Say something.", "stream": True}
            async with client.stream("POST", f"/v1/conversations/{talk}/messages", json=body) as answer:
                async for line in answer.aiter_lines():
                    if line == "event: agent.delta":
                        break
                os.killpg(api.pid, signal.SIGKILL)

        await scene.product.worker()
        turn = await scene.ended(talk)

        assert (turn.status, turn.answer) == ("succeeded", "Whole again.")
        assert turn.broken_off >= 1


async def test_what_a_tool_did_before_the_kill_is_not_done_again(settings: Settings) -> None:
    async with a_scene(settings) as scene:
        await scene.product.worker()
        api, client = await scene.api(crash_point="agents.after_step")
        async with client:
            talk = await a_talk(client)
            with pytest.raises(httpx.TransportError):
                await client.post(f"/v1/conversations/{talk}/messages", json={"content": "Write it down."})
        assert await its_child_died(api)

        turn = await scene.ended(talk)

        assert (turn.status, turn.answer, turn.outcome["files"]) == ("succeeded", "It is in note.md.", ["note.md"])
        steps = await scene.services.agents.queries.steps(scene.caller.tenant_id, UUID(talk), limit=9, after=None)
        assert [step.kind for step in steps] == ["model", "tool", "model"]


async def test_a_turn_that_ends_every_process_is_given_up_and_says_so(settings: Settings) -> None:
    async with a_scene(settings) as scene:
        conversations, who = scene.services.agents.conversing.conversations, _principal(scene.caller)
        talk = await conversations.create(who, agent="executor", title="")
        await conversations.talks.begin(
            who.tenant_id, talk.id, turn_id=new_id(), message="Hello", api_key_id=None, user=None, lease_s=0
        )
        for _ in range(2):  # taken up by processes that end
            await conversations.talks.take_up(who.tenant_id, talk.id, lease_s=0)

        async def swept() -> bool:
            return await conversations.sweep() > 0

        await eventually(swept)
        turn = await scene.ended(str(talk.id))

        assert (turn.status, turn.error["type"]) == ("failed", "turn-broken-off")
        assert scene.upstream.calls == []


def _principal(caller: Caller) -> Principal:
    return Principal(
        tenant_id=caller.tenant_id,
        project_id=caller.project_id,
        api_key_id=None,
        permissions=frozenset(Permission),
    )
