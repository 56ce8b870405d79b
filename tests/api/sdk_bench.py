"""The official SDKs at a bench: two stand-ins, us before them, and the same use of an SDK at each."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from tests.anthropic_upstream import AnthropicUpstream, Tell, running_anthropic
from tests.api_process import api_process
from tests.edge import Caller, a_caller
from tests.upstream import Say, Upstream, running_upstream

from cognitionos.platform.config import Settings

GPT, CLAUDE = "gpt-4o-mini", "claude-haiku-4-5"


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where a case is asked: the stand-in or us, as somebody, for a model."""

    openai: AsyncOpenAI
    anthropic: AsyncAnthropic
    model: str


@dataclass(frozen=True, kw_only=True)
class Case:
    """One use of an SDK; what the providers answer to it, in OpenAI's words and in Anthropic's."""

    name: str
    use: Callable[[Door], Awaitable[Any]]
    says: list[Say] = field(default_factory=list)
    tells: list[Tell] = field(default_factory=list)


@dataclass(kw_only=True)
class Bench:
    """The two stand-ins, and us before them."""

    gpt: Upstream
    claude: AnthropicUpstream
    url: str
    caller: Caller
    poor: Caller

    def direct(self) -> Door:
        return Door(
            openai=AsyncOpenAI(base_url=self.gpt.base_url, api_key=self.gpt.api_key, max_retries=0),
            anthropic=AsyncAnthropic(base_url=self.claude.base_url, api_key=self.claude.api_key, max_retries=0),
            model="",
        )

    def ours(self, model: str, *, who: Caller | None = None) -> Door:
        key = (who or self.caller).key
        return Door(
            openai=AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0),
            anthropic=AsyncAnthropic(base_url=self.url, api_key=key, max_retries=0),
            model=model,
        )

    async def used(self, case: Case, door: Door) -> Any:
        """What the case gives there, with the providers' answers before it."""
        self.gpt.reset()
        self.claude.reset()
        self.gpt.then(*case.says)
        self.claude.then(*case.tells)
        async with door.openai, door.anthropic:
            return await case.use(door)


@asynccontextmanager
async def running_bench(settings: Settings) -> AsyncIterator[Bench]:
    """Both stand-ins and an API process; `poor` has a budget that pays for nothing."""
    async with running_upstream() as gpt, running_anthropic() as claude:
        caller, poor = await a_caller(settings, "sdk"), await a_caller(settings, "poor")
        environment = {
            "OPENAI_BASE_URL": gpt.base_url,
            "OPENAI_API_KEY": gpt.api_key or "",
            "ANTHROPIC_BASE_URL": claude.base_url,
            "ANTHROPIC_API_KEY": claude.api_key or "",
        }
        with api_process(settings, environment) as url:
            budget = {"subject": f"tenant:{poor.tenant_id}", "limit_usd": "0.000000001"}
            price = {"input_usd_per_million": 1, "output_usd_per_million": 1}
            async with httpx.AsyncClient(base_url=url, headers=poor.headers) as operator:
                (await operator.post("/v1/budgets", json=budget)).raise_for_status()
                for model in (f"openai/{GPT}", f"anthropic/{CLAUDE}"):
                    (await operator.put(f"/v1/prices/{model}", json=price)).raise_for_status()
            yield Bench(gpt=gpt, claude=claude, url=url, caller=caller, poor=poor)
