"""What other contexts may know of the gateway: ask a model, embed texts, open and read budgets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from cognitionos.llm_gateway.application.budgets import Budgets
from cognitionos.llm_gateway.application.cache_voids import Voids
from cognitionos.llm_gateway.application.completion import Completion
from cognitionos.llm_gateway.application.embedding import Embedding
from cognitionos.llm_gateway.application.listening import Hear, Listening
from cognitionos.llm_gateway.application.streaming import Begun, ChatStream, Streaming
from cognitionos.llm_gateway.domain.budget import OWN_TERMS, SILENT_TERMS, Period, Spend
from cognitionos.llm_gateway.domain.cached import ANEW, USUAL, run_scope
from cognitionos.llm_gateway.domain.chat import (
    Caller,
    ChatRequest,
    ChatResult,
    Embeddings,
    Message,
    ToolCall,
    Usage,
    assistant,
    json_schema,
    system,
    tool,
    tool_result,
    user,
)
from cognitionos.llm_gateway.domain.errors import (
    BudgetExhausted,
    BudgetHalted,
    InvalidChatRequest,
    ModelNotFound,
    PriceUnknown,
    ProviderUnavailable,
    RequestRefused,
    SimulatedModelRefused,
    StreamBroken,
)

COUNTERFACTUAL_MODEL = "gpt-4o-mini"
"""What a simulated run is priced as when someone asks what it would have cost."""

__all__ = [
    "ANEW",
    "COUNTERFACTUAL_MODEL",
    "USUAL",
    "Begun",
    "BudgetExhausted",
    "BudgetHalted",
    "Caller",
    "ChatRequest",
    "ChatResult",
    "ChatStream",
    "DefaultModel",
    "Embeddings",
    "Gateway",
    "Hear",
    "InvalidChatRequest",
    "Message",
    "ModelNotFound",
    "Period",
    "PriceUnknown",
    "ProviderUnavailable",
    "RequestRefused",
    "SimulatedModelRefused",
    "Spend",
    "StreamBroken",
    "ToolCall",
    "Usage",
    "assistant",
    "json_schema",
    "system",
    "tool",
    "tool_result",
    "user",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultModel:
    """Which model answers when nobody names one. `hint` says how to connect a real one, empty when one is."""

    model: str
    simulated: bool
    provider: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Every call to a model, for the other contexts: never HTTP to oneself."""

    completion: Completion
    streaming: Streaming
    embedding: Embedding
    budgets: Budgets
    voids: Voids
    default_model: Callable[[], DefaultModel]
    table_cost: Callable[[str, Usage], int | None]

    async def complete(self, caller: Caller, request: ChatRequest) -> ChatResult:
        """The model's answer, paid for and recorded: to its end, also when whoever asked is cancelled.

        Raises `BudgetExhausted`, `PriceUnknown`, `ProviderUnavailable`, `ModelNotFound`, `RequestRefused`.
        """
        return await self.completion.to_the_end(caller, request)

    async def stream(self, caller: Caller, request: ChatRequest, begun: Begun | None = None) -> ChatStream:
        """The answer piece by piece; raises what `complete` raises before the first piece."""
        return await self.streaming.open(caller, request, begun)

    async def listen(self, caller: Caller, request: ChatRequest, hear: Hear) -> ChatResult:
        """`complete`, with the words given to `hear` as they come. Raises `StreamBroken` too, after the first words."""
        return await Listening(streaming=self.streaming).complete(caller, request, hear)

    async def embed(self, caller: Caller, texts: Sequence[str], model: str | None = None) -> Embeddings:
        """One vector per text, in order; `model` None is the default embedder."""
        return await self.embedding.embed(caller, texts, model=model)

    async def window(self, tenant_id: UUID, model: str | None) -> int | None:
        """How many tokens fit into every model that may answer for this name (None: the default); None: nobody says.

        As the price of each says: the tenant's own, the provider file's, the public table's.
        """
        route = await self.budgets.resolve(tenant_id, model)
        prices = [await self.budgets.price(tenant_id, candidate) for candidate in route.candidates]
        return min((price.max_input_tokens for price in prices if price and price.max_input_tokens), default=None)

    async def open_budget(
        self, tenant_id: UUID, subject: str, limit_nanousd: int, period: Period = Period.TOTAL
    ) -> None:
        """Give `subject` (`goal:ID`, `run:ID`, ...) a hard limit; again: change it. It halts nothing before its end."""
        terms = SILENT_TERMS if subject.startswith(("agent_run:", "task:")) else OWN_TERMS
        await self.budgets.open(tenant_id, subject, limit_nanousd=limit_nanousd, period=period, terms=terms)

    async def spent(self, tenant_id: UUID, subject: str) -> Spend:
        """What `subject` has spent and still holds."""
        return await self.budgets.spent(tenant_id, subject)

    async def forget(self, tenant_id: UUID, run_id: UUID) -> None:
        """Give no answer again that this run was first to ask for, and delete what is kept of them for long."""
        await self.voids.void(tenant_id, [run_scope(run_id)])

    def describe_default(self) -> DefaultModel:
        """Which model answers when nobody names one, and whether its words mean anything."""
        return self.default_model()

    def priced_as(self, model: str, usage: Usage) -> int | None:
        """Nano-dollars that `usage` would have cost on `model` of the public price table; None: not in it."""
        return self.table_cost(model, usage)
