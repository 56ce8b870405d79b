"""A chat call and its answer. Messages, tools and schemas keep OpenAI's JSON shapes, which every provider speaks.

Source of the shapes: OpenAI's API reference, "Create chat completion".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cognitionos.kernel.json_text import read_json
from cognitionos.kernel.value import value
from cognitionos.llm_gateway.domain.cached import USUAL, CacheWish

Message = Mapping[str, Any]
Text = str | tuple[int, ...]
"""What is embedded: a text, or the tokens of one."""
CACHE_NONE = "none"
CACHE_EXACT = "exact"
CACHE_DURABLE = "durable"
CACHE_COALESCED = "coalesced"
"""The answer of an identical call that was under way."""
CACHE_PENDING = "pending"
"""Of a stream that began before it was known where its answer would come from."""
KEPT_ELSEWHERE = ("container", "thread", "conversation", "previous_response_id", "prompt")
"""Fields that name what is kept at the provider: a part of the prompt, which a call may change."""


@value
class Caller:
    """On whose behalf a call is made: what its ledger row names and which budgets it is held against.

    `workflow` is the name of the declared workflow that is run; `critical` runs go on where a budget halts others.
    `earlier_keys` are those that the key replaced, whose budgets are its own. `above` are the subjects of the runs that
    started its run, which pay for it too.
    """

    tenant_id: UUID
    project_id: UUID
    api_key_id: UUID | None = None
    user: str | None = None
    goal_id: UUID | None = None
    workflow: str | None = None
    run_id: UUID | None = None
    task_id: str | UUID | None = None
    agent_run_id: UUID | None = None
    critical: bool = False
    earlier_keys: tuple[UUID, ...] = ()
    above: tuple[str, ...] = ()

    @property
    def subjects(self) -> tuple[str, ...]:
        """Every budget subject this call counts against, as `kind:id`."""
        named = (
            ("tenant", self.tenant_id),
            ("project", self.project_id),
            ("api_key", self.api_key_id),
            *(("api_key", key) for key in self.earlier_keys),
            ("user", self.user),
            ("goal", self.goal_id),
            ("workflow", self.workflow),
            ("run", self.run_id),
            ("task", self.task_id),
            ("agent_run", self.agent_run_id),
        )
        return (*(f"{kind}:{value}" for kind, value in named if value is not None), *self.above)


@value
class ChatRequest:
    """What to ask a model. `model` None means the default; `extra` holds every further field, passed on unchanged.

    `together`: events of a stream that arrive at one moment may be given as one, as `Chunk.data` says.
    `role` is who asks, for the defaults that a tenant has given that role.
    `limit_field` is the name under which the caller gave `max_tokens`; None lets the provider choose the name it takes.
    `native` is the request as its caller wrote it for Anthropic's Messages API: who speaks it sends that and
    answers with its own words under `anthropic`. `unseen_bytes` of its prompt are not in `messages` (earlier thinking).
    """

    messages: tuple[Message, ...]
    model: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: Any = None
    response_format: Mapping[str, Any] | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    limit_field: str | None = None
    include_usage: bool = False
    together: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    native: Mapping[str, Any] | None = None
    unseen_bytes: int = 0
    use_cache: bool = True
    cache_wish: CacheWish = USUAL
    role: str | None = None
    deadline_s: float = 300.0

    @property
    def offered_tools(self) -> frozenset[str]:
        """The names of the functions that the model may call."""
        names = (tool.get("function", {}).get("name") for tool in self.tools)
        return frozenset(name for name in names if isinstance(name, str))

    @property
    def has_state_elsewhere(self) -> bool:
        """Whether the answer hangs on what its provider keeps, or makes it keep something: no two are the same."""
        if self.extra.keys().isdisjoint(KEPT_ELSEWHERE):
            return False
        return any(self.extra.get(name) is not None for name in KEPT_ELSEWHERE)

    @property
    def choices(self) -> int:
        """How many answers are made: as many as are asked for (`n`), or as the best of which is."""
        wanted = (self.extra.get("n"), self.extra.get("best_of"))
        return max((each for each in wanted if isinstance(each, int)), default=1)

    @property
    def thinking(self) -> int:
        """Tokens that it sets apart for thinking, in Anthropic's words: the answer's limit has to be above them."""
        told = self.extra.get("thinking")
        budget = told.get("budget_tokens") if isinstance(told, Mapping) and told.get("type") == "enabled" else None
        return max(budget, 0) if isinstance(budget, int) else 0

    def content(self) -> dict[str, Any]:
        """Everything that decides the answer, in wire form, without the model and without the completion limit."""
        body: dict[str, Any] = {"messages": self.messages}
        if self.tools:
            body["tools"] = self.tools
        if self.tool_choice is not None:
            body["tool_choice"] = self.tool_choice
        if self.response_format is not None:
            body["response_format"] = self.response_format
        if self.temperature is not None:
            body["temperature"] = self.temperature
        body.update(self.extra)
        return body

    def wire(self, model: str, *, limit_field: str = "max_tokens") -> dict[str, Any]:
        """The request body for a provider that calls it `model`; `limit_field` is its usual name of the limit."""
        body = {"model": model} | self.content()
        if self.max_tokens is not None:
            body[self.limit_field or limit_field] = self.max_tokens
        return body


@value
class ToolCall:
    """A model's wish to call a function. `arguments` is the model's JSON text, which may be malformed."""

    id: str
    name: str
    arguments: str

    def parsed(self) -> dict[str, Any]:
        """The arguments as an object; raises `ValueError` when the text is no JSON object."""
        value = read_json(self.arguments or "{}")
        if not isinstance(value, dict):
            raise ValueError(f"the arguments of {self.name} are not a JSON object")  # noqa: TRY004 - malformed text, like any other
        return value

    def wire(self) -> dict[str, Any]:
        """The call as it stands in an assistant message."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@value
class Usage:
    """Tokens of one call. Those cached, written to a cache and of audio and images sent are parts of `prompt`, those of
    reasoning and of audio and images made are parts of `completion`; `cache_write_1h` is a part of `cache_write`,
    `cached_audio` of `cached` and of `audio_input`.

    `searches` are web searches that the provider made, each of `search_size` (None: the usual). `service_tier` is the
    one that served it (`domain/price.py`), None the usual one.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    image_input: int = 0
    image_output: int = 0
    cached_audio: int = 0
    searches: int = 0
    search_size: str | None = None
    service_tier: str | None = None
    estimated: bool = False

    @property
    def total(self) -> int:
        """Prompt and completion together."""
        return self.prompt + self.completion


@value
class ChatResult:
    """One answer, and where it came from. `wire` is the whole answer in OpenAI's shape.

    `limit_lowered` says that a budget allowed a shorter answer only than the model could give, `downgraded` that a
    budget past its soft share had a cheaper model answer. `priced` False: nobody knows what the call cost, and
    `cost_nanousd` says nothing. `route` is the way it took: why, and which deployment did what.
    `cache_key` names the answer in the caches (None: it may not be kept); `cache_age_s` is how old a kept one is.
    """

    call_id: UUID
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    provider: str
    model: str
    usage: Usage
    cost_nanousd: int
    priced: bool = True
    cache: str = CACHE_NONE
    cache_key: str | None = None
    cache_age_s: int | None = None
    similarity: float | None = None
    attempts: int = 1
    route: str = ""
    simulated: bool = False
    limit_lowered: bool = False
    downgraded: bool = False
    latency_ms: int = 0
    wire: Mapping[str, Any]

    @property
    def message(self) -> dict[str, Any]:
        """The answer as an assistant message, ready to be appended to the conversation."""
        return assistant(self.text, tool_calls=self.tool_calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """Vectors in the order of the texts, all of `dimensions` numbers."""

    call_id: UUID
    vectors: tuple[tuple[float, ...], ...]
    provider: str
    model: str
    dimensions: int
    usage: Usage
    cost_nanousd: int
    priced: bool = True
    attempts: int = 1
    route: str = ""


def system(text: str) -> dict[str, Any]:
    """A system message."""
    return {"role": "system", "content": text}


def user(text: str, *, images: Sequence[str] = ()) -> dict[str, Any]:
    """A user message; `images` are URLs or data URLs."""
    if not images:
        return {"role": "user", "content": text}
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    parts.extend({"type": "image_url", "image_url": {"url": url}} for url in images)
    return {"role": "user", "content": parts}


def assistant(text: str, *, tool_calls: Sequence[ToolCall] = ()) -> dict[str, Any]:
    """An assistant message; with tool calls its content may be null."""
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if tool_calls else "")}
    if tool_calls:
        message["tool_calls"] = [call.wire() for call in tool_calls]
    return message


def tool_result(call_id: str, text: str) -> dict[str, Any]:
    """What a tool answered, addressed to the call that asked for it."""
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def tool(name: str, description: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A function offered to the model; `parameters` is a JSON schema."""
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def json_schema(name: str, schema: Mapping[str, Any], *, strict: bool = True) -> dict[str, Any]:
    """A `response_format` that asks for JSON of this schema."""
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": strict}}
