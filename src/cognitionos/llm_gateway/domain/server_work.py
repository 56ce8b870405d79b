"""What a provider does by itself before it answers: its own tools ask the model again and lengthen its prompt.

A budget holds what a call can cost at most, so what bounds neither is refused under a budget (`CallUnbounded`).
Source of the tools and of the loop: Anthropic's guide, "Server tools".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cognitionos.llm_gateway.domain.chat import ChatRequest
from cognitionos.llm_gateway.domain.errors import CallUnbounded

LOOPS = 10
"""How often Anthropic asks a model again in one call, before it pauses the turn."""
SEARCH_OPTIONS = "web_search_options"
_CLIENTS = ("function", "custom", "bash_", "text_editor_", "memory_", "computer_", "browser_")
"""Tools that the caller runs: one call, one pass."""
_SEARCH, _FETCH, _FIND_TOOLS, _REMOTE = "web_search_", "web_fetch_", "tool_search_tool_", "mcp_toolset"
_ONE_PASS_A_USE = frozenset({"web_search_20250305", "web_fetch_20250910"})
"""Later ones run code between their uses."""
_LIFTS = "it may lift or replace the limit of the answer"
_OTHER_MODEL = "the provider may have another model answer, at another price"
_NO_BOUND: Mapping[str, str] = {
    "plugins": "nobody says what its plugins cost",
    "search_parameters": "nobody says how many sources are paid for",
    "enable_search": "nobody says how many searches are paid for",
    "chat_template": "it makes any prompt of what is sent",
    "use_beam_search": "nobody says how many answers are made for the one that is given",
    "num_beams": "nobody says how many answers are made for the one that is given",
    **dict.fromkeys(("fallbacks", "fallback_models", "models", "preset"), _OTHER_MODEL),
    **dict.fromkeys(("n_predict", "num_predict", "max_new_tokens", "max_length", "max_output_tokens"), _LIFTS),
    **dict.fromkeys(("max_tokens_to_sample", "max_gen_len", "min_tokens", "min_new_tokens", "min_length"), _LIFTS),
    **dict.fromkeys(("options", "extra_body", "generation_config", "generationConfig"), _LIFTS),
}
"""Fields of one server or another: OpenRouter, xAI, Qwen, llama.cpp, vLLM, SGLang, Ollama, Gemini's."""
_NOT_ASKED: tuple[Any, ...] = (None, False, "", [], {})
_FIELDS = frozenset({SEARCH_OPTIONS, "mcp_servers", "context_management", *_NO_BOUND})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerWork:
    """At most so many passes of the model and web searches. `grows`: what its tools bring lengthens the prompt.

    `option`: a search is asked for by `web_search_options`, which says not how many there may be.
    """

    passes: int = 1
    searches: int = 0
    grows: bool = False
    option: bool = False


NOTHING = ServerWork()


def server_work(request: ChatRequest) -> ServerWork:
    """What `request` lets its provider do. Raises `CallUnbounded` naming the field that sets no bound."""
    if not request.tools and request.extra.keys().isdisjoint(_FIELDS):
        return NOTHING
    for name, why in _NO_BOUND.items():
        if request.extra.get(name) not in _NOT_ASKED:
            raise unbounded(name, why)
    passes, searches = 0, 0
    grows = remote = bool(request.extra.get("mcp_servers"))
    for index, tool in enumerate(request.tools):
        kind = str(tool.get("type", "custom"))
        if kind.startswith(_CLIENTS):
            continue
        if not kind.startswith((_SEARCH, _FETCH, _FIND_TOOLS, _REMOTE)):
            raise unbounded(f"tools.{index}.type", "nobody knows what this tool of the provider's costs")
        uses = tool.get("max_uses")
        if kind.startswith(_SEARCH):
            if not isinstance(uses, int) or uses < 1:
                raise unbounded(f"tools.{index}.max_uses", "say how many searches there may be")
            searches += uses
        grows = grows or not kind.startswith(_FIND_TOOLS)
        passes += uses if kind in _ONE_PASS_A_USE and isinstance(uses, int) else LOOPS
    if remote or _compacts(request.extra.get("context_management")):
        passes += LOOPS
    return ServerWork(
        passes=1 + min(passes, LOOPS),
        searches=searches,
        grows=grows,
        option=request.extra.get(SEARCH_OPTIONS) is not None,
    )


def unbounded(field: str, why: str) -> CallUnbounded:
    """The error that says which field sets no bound to the cost of a call."""
    detail = f"A budget pays for no call whose cost has no bound. '{field}': {why}."
    return CallUnbounded(detail, fields={field: why})


def _compacts(management: Any) -> bool:
    edits = management.get("edits") if isinstance(management, Mapping) else None
    return isinstance(edits, list) and any(str(each.get("type")).startswith("compact") for each in edits if each)
