"""The gateway's default embedder as memory's `Embed`."""

from collections.abc import Sequence
from dataclasses import dataclass

from cognitionos.llm_gateway.facade import Caller, Gateway
from cognitionos.memory.application.ports import Embedding, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayEmbedder:
    """Embeds through the gateway: held against the caller's budgets, priced and recorded like every call."""

    gateway: Gateway
    model: str | None = None

    async def __call__(self, scope: Scope, texts: Sequence[str]) -> list[Embedding]:
        """One embedding per text. Raises what the gateway raises."""
        caller = scope.caller or Caller(
            tenant_id=scope.tenant_id,
            project_id=scope.project_id,
            api_key_id=scope.api_key_id,
            user=scope.user,
            goal_id=scope.goal_id,
            run_id=scope.run_id,
        )
        answer = await self.gateway.embed(caller, texts, model=self.model)
        return [Embedding(model=f"{answer.provider}/{answer.model}", vector=vector) for vector in answer.vectors]
