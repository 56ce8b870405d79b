"""Transports of tenants' own providers: as the installation's, but they reach public addresses only."""

from collections.abc import Callable

from cognitionos.kernel.clock import Clock
from cognitionos.kernel.ids import new_id
from cognitionos.llm_gateway.application.ports import Provider
from cognitionos.llm_gateway.infrastructure.anthropic_provider import AnthropicProvider
from cognitionos.llm_gateway.infrastructure.openai_provider import OpenAIProvider
from cognitionos.llm_gateway.infrastructure.own_models import ReadProvider
from cognitionos.llm_gateway.infrastructure.tool_call_recovery import ToolCallRecovery
from cognitionos.platform.http import LONGEST_SILENCE_S, HttpClient
from cognitionos.platform.http_address import AllowedHosts
from cognitionos.platform.http_guard import PublicResolver


class OwnProviders:
    """Makes them, all over one guarded HTTP client, which it opens and closes."""

    def __init__(
        self,
        allowed: AllowedHosts,
        *,
        now: Clock,
        longest_answer: Callable[[str], int | None],
        longest_silence_s: float = LONGEST_SILENCE_S,
    ) -> None:
        self.allowed = allowed
        self._http = HttpClient(resolver=PublicResolver(allowed), longest_silence_s=longest_silence_s)
        self._now = now
        self._longest_answer = longest_answer

    async def open(self) -> None:
        """Make the session on the running loop."""
        await self._http.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    def make(self, row: ReadProvider, key: str | None) -> Provider:
        """The transport of one provider."""
        if row.kind == "anthropic":
            return AnthropicProvider(
                self._http,
                name=row.name,
                api_key=key or "",
                base_url=row.base_url,
                now=self._now,
                longest_answer=self._longest_answer,
            )
        provider: Provider = OpenAIProvider(
            self._http, name=row.name, base_url=row.base_url, api_key=key, limit_field=row.limit_field
        )
        return ToolCallRecovery(provider, new_id=lambda: f"call_{new_id().hex}") if row.recover_tool_calls else provider
