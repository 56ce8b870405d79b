"""What a tenant wants of each role's calls: how free the words are, and how many there may be."""

from dataclasses import dataclass, replace

from cognitionos.llm_gateway.domain.chat import ChatRequest

ANY_ROLE = "default"
"""The role whose defaults fill what a request without a role leaves open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleDefaults:
    """None: as the request says, or the model's own."""

    temperature: float | None = None
    max_tokens: int | None = None

    def fill(self, request: ChatRequest) -> ChatRequest:
        """The request with these. An agent's role has no wish of its own; what a caller wrote goes first."""
        if request.role is not None:
            temperature = request.temperature if self.temperature is None else self.temperature
            max_tokens = self.max_tokens or request.max_tokens
        else:
            temperature = self.temperature if request.temperature is None else request.temperature
            max_tokens = self.max_tokens if request.max_tokens is None else request.max_tokens
        return replace(request, temperature=temperature, max_tokens=max_tokens)
