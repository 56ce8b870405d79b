"""What a body of Anthropic's Messages API may ask and OpenAI's format has no words for: refused by name, never dropped.

The rule: what Anthropic documents and no server of OpenAI's format takes is refused before it is sent; what Anthropic
does not document, or such servers take too (`top_k`), goes on for the provider to judge. Hints that change no answer
(marks for caching) and what earlier answers carried beside their words (thinking, citations) are left out.
Source: Anthropic's API reference, "Create a Message", and the types of its SDK.
"""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from cognitionos.llm_gateway.domain.errors import RequestRefused
from cognitionos.llm_gateway.infrastructure.taken_fields import not_taken

_ELSEWHERE = "leave it out, or name a model of Anthropic's"
NOTHING_ASKED: Mapping[str, tuple[Any, ...]] = {
    "billing_policy": (None,),
    "compaction": (None,),
    "container": (None,),
    "context_management": (None, {}),
    "diagnostics": (None,),
    "fallback_credit_token": (None,),
    "fallbacks": (None, []),
    "inference_geo": (None,),
    "mcp_servers": (None, []),
    "speed": (None, "standard"),
    "thinking": (None, {"type": "disabled"}, {"type": "adaptive"}, {"type": "adaptive", "display": "summarized"}),
    "thread": (None,),
    "user_profile_id": (None,),
    "workspace_id": (None,),
}
"""Fields of Anthropic's alone, with the values that ask for nothing: a model thinks as much as it finds right."""
TOOL_TERMS: Mapping[str, tuple[Any, ...]] = {
    "allowed_callers": (None, [], ["direct"]),
    "defer_loading": (None, False),
    "eager_input_streaming": (None, True, False),
    "input_examples": (None, []),
}
"""The same of a tool of the caller's; arguments come as they are made, asked for or not."""
_TOOLS = (
    *("advisor_", "bash_", "browser_toolset_", "code_execution_", "computer_", "mcp_toolset", "memory_"),
    *("text_editor_", "tool_search_tool_", "web_fetch_", "web_search_"),
)
_BLOCKS = frozenset(
    {"compaction", "container_upload", "fallback", "mcp_tool_listing", "mcp_tool_use", "search_result"}
    | {"server_tool_use", "tool_addition", "tool_reference", "tool_removal", "browser_state"}
)
_OF_A_SERVER = "_tool_result"
_HINTS = frozenset({"cache_control", "citations"})
_TAKEN = {
    "tool_use": _HINTS | {"type", "id", "name", "input", "caller"},
    "tool_result": _HINTS | {"type", "tool_use_id", "content", "is_error"},
    "image": _HINTS | {"type", "source", "transformations"},
    "document": _HINTS | {"type", "source", "title", "context"},
}
"""Of blocks that are told in other words; any other goes on as it is."""
_THREAD = "thread"
_DETAILS: Mapping[str, Mapping[str, Any]] = {
    _THREAD: {"error_code": "thread_unsupported_request", "unsupported": ["model"]},
}
"""What Anthropic says beside a refusal's words: told so, its SDK sends the whole conversation instead of a thread."""
_OF_A_CHOICE = frozenset({"type", "name", "disable_parallel_tool_use"})
_DIRECT = {"type": "direct"}
_REMEDIES = {
    "mcp_servers": "no other model calls them by itself; offer their tools as tools of your own",
    _THREAD: "no other model keeps a conversation; send all of it",
    "thinking": "say how much to think by output_config.effort, or leave it out",
    "fallbacks": "name a route, whose candidates are tried in order",
    "search_result": "send what it says as text",
    "tool": "only Anthropic's models know this tool; offer one of your own, with an input_schema",
    "file": "send the file itself, as base64",
}


def check_words(native: Mapping[str, Any]) -> None:
    """Raise `RequestRefused` naming the first thing in a body of `/v1/messages` that OpenAI's format cannot say."""
    for name, nothing in NOTHING_ASKED.items():
        if native.get(name) not in (None, *nothing):
            raise _refused(name, _REMEDIES.get(name, _ELSEWHERE))
    _check_output(native.get("output_config") or {})
    for index, tool in enumerate(native.get("tools") or ()):
        _check_tool(tool, f"tools.{index}")
    _check_taken(native.get("tool_choice") or {}, _OF_A_CHOICE, "tool_choice")
    for index, message in enumerate(native.get("messages") or ()):
        _check_taken(message, frozenset({"role", "content"}), f"messages.{index}")
    for where, block in _blocks(native):
        _check_block(block, where)


def check_thread(native: Mapping[str, Any]) -> None:
    """Raise `RequestRefused` for a body that leaves its conversation to the provider."""
    if native.get(_THREAD) is not None:
        raise _refused(_THREAD, _REMEDIES[_THREAD])


def _check_output(config: Mapping[str, Any]) -> None:
    if config.get("task_budget") is not None:
        raise _refused("output_config.task_budget", _ELSEWHERE)
    format_ = config.get("format")
    if format_ and not (format_.get("type") == "json_schema" and isinstance(format_.get("schema"), Mapping)):
        raise _refused("output_config.format", "the type 'json_schema' with a schema is all there is")
    _check_taken(format_ or {}, frozenset({"type", "schema"}), "output_config.format")


def _check_taken(given: Mapping[str, Any], taken: AbstractSet[str], where: str) -> None:
    field = not_taken(given, taken, where)
    if field is not None:
        raise _refused(field, _ELSEWHERE)


def _check_tool(tool: Mapping[str, Any], where: str) -> None:
    if str(tool.get("type") or "custom").startswith(_TOOLS):
        raise _refused(f"{where}.type", _REMEDIES["tool"])
    for name, nothing in TOOL_TERMS.items():
        if tool.get(name) not in nothing:
            raise _refused(f"{where}.{name}", _ELSEWHERE)


def _blocks(native: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every block of the conversation with its place, those in the results of tools included."""
    for index, message in enumerate(native.get("messages") or ()):
        for where, block in _listed(message.get("content"), f"messages.{index}.content"):
            yield where, block
            if block.get("type") == "tool_result":
                yield from _listed(block.get("content"), f"{where}.content")


def _listed(content: object, where: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    blocks = content if isinstance(content, list) else ()
    return ((f"{where}.{index}", block) for index, block in enumerate(blocks) if isinstance(block, Mapping))


def _check_block(block: Mapping[str, Any], where: str) -> None:
    kind = str(block.get("type"))
    if kind in _BLOCKS or kind.endswith(_OF_A_SERVER):
        raise _refused(f"{where}.type", _REMEDIES.get(kind, "only Anthropic's models know what this is; leave it out"))
    if kind in _TAKEN:
        _check_taken(block, _TAKEN[kind], where)
    if block.get("caller") not in (None, _DIRECT):
        raise _refused(f"{where}.caller", _ELSEWHERE)
    if kind == "image" and block.get("transformations"):
        raise _refused(f"{where}.transformations", _ELSEWHERE)
    if kind == "document":
        _check_document(block, where)
    source = block.get("source")
    if kind in {"image", "document"} and isinstance(source, Mapping) and source.get("type") == "file":
        raise _refused(f"{where}.source", _REMEDIES["file"])


def _check_document(block: Mapping[str, Any], where: str) -> None:
    if (block.get("citations") or {}).get("enabled"):
        raise _refused(f"{where}.citations", _ELSEWHERE)
    source = block.get("source")
    kind = source.get("type") if isinstance(source, Mapping) else None
    if kind == "url":
        raise _refused(f"{where}.source", _REMEDIES["file"])
    if kind == "content" and not isinstance(source.get("content") if isinstance(source, Mapping) else None, str):
        raise _refused(f"{where}.source", "send its blocks in the message")
    if kind == "base64" and block.get("context"):
        raise _refused(f"{where}.context", "say it in the message's text")


def _refused(field: str, remedy: str) -> RequestRefused:
    told = f"The provider of this model cannot take '{field}', which is Anthropic's alone: {remedy}."
    refusal = RequestRefused(told, fields={field: remedy})
    refusal.details = _DETAILS.get(field)
    return refusal
