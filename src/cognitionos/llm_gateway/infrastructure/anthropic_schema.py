"""A chat request as the body of Anthropic's Messages API. Source: Anthropic's API reference, "Create a Message".

JSON output is asked for by `output_config.format`, which all of its current models take, also while they think; a
forced tool, the older way, is refused by models that think. The schema is closed and freed of what it must not hold.
"""

from collections.abc import Callable, Mapping
from typing import Any

from cognitionos.llm_gateway.domain.chat import ChatRequest
from cognitionos.llm_gateway.infrastructure.anthropic_messages import check_taken, conversation, refused
from cognitionos.llm_gateway.infrastructure.closed_schema import OpenSchema, closed

VERSION = "2023-06-01"
"""What we send by ourselves: 2026-10-21 takes no sampling parameters, which some models still have."""
BETAS, API_VERSION = "anthropic_beta", "anthropic_version"
"""The fields of `ChatRequest.native` that hold the caller's headers `anthropic-beta` and `anthropic-version`."""
_NO_PART_OF_THE_BODY = frozenset({BETAS, API_VERSION})
_NO_SUCH_THING: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": (),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "moderation": (),
    "n": (1,),
    "prediction": (),
    "presence_penalty": (0,),
    "prompt_cache_key": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "seed": (),
    "store": (False,),
    "stream_options": ({}, {"include_obfuscation": False}),
    "top_logprobs": (0,),
    "verbosity": (),
    "web_search_options": (),
}
"""Fields of OpenAI's that Anthropic has nothing for, with the values that ask for nothing."""
_SAMPLING = frozenset({"temperature", "top_k", "top_p"})
_OF_A_FUNCTION = frozenset({"name", "description", "parameters", "strict"})
_OF_A_SCHEMA = frozenset({"name", "description", "schema", "strict"})
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_TOOL_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


def message_body(request: ChatRequest, *, model: str, max_tokens: int) -> dict[str, Any]:
    """The body to send. Raises `RequestRefused` naming a field that Anthropic cannot take; unknown ones pass."""
    if request.native is not None:
        native = {name: value for name, value in request.native.items() if name not in _NO_PART_OF_THE_BODY}
        native |= {"model": model, "max_tokens": max_tokens}
        if request.temperature is not None and not _says_how_free(request.native):
            native["temperature"] = request.temperature
        return native
    system, turns = conversation(request.messages)
    body: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "messages": turns}
    if system:
        body["system"] = system
    if request.temperature is not None:
        if request.temperature > 1:
            raise refused("temperature", "from 0 to 1")
        body["temperature"] = request.temperature
    _put_tools(body, request)
    for name, value in request.extra.items():
        if value is not None:
            _FIELDS.get(name, _other)(body, name, value)
    _put_format(body, request.response_format)
    return body


def _says_how_free(native: Mapping[str, Any]) -> bool:
    """Whether a body says how free the words are, or must not: thinking goes without it, as do newer versions."""
    thinks = (native.get("thinking") or {}).get("type") not in (None, "disabled")
    return thinks or native.get(API_VERSION) not in (None, VERSION) or not native.keys().isdisjoint(_SAMPLING)


def _put_tools(body: dict[str, Any], request: ChatRequest) -> None:
    if not request.tools:
        if request.tool_choice not in (None, "auto", "none"):
            raise refused("tool_choice", "left out where no tools are offered")
        return
    body["tools"] = [_tool(tool, f"tools.{index}") for index, tool in enumerate(request.tools)]
    choice = _tool_choice(request.tool_choice)
    if request.extra.get("parallel_tool_calls") is False:
        choice = (choice or {"type": "auto"}) | {"disable_parallel_tool_use": True}
    if choice is not None:
        body["tool_choice"] = choice


def _tool(tool: Mapping[str, Any], where: str) -> dict[str, Any]:
    kind, function = tool.get("type"), tool.get("function")
    if kind == "custom" and "custom" in tool:
        raise refused(f"{where}.type", "tools of the type 'function'")
    if not isinstance(function, Mapping):
        return dict(tool)  # one of Anthropic's own
    check_taken(function, _OF_A_FUNCTION, f"{where}.function")
    made = {"name": function.get("name"), "input_schema": function.get("parameters") or {"type": "object"}}
    kept = {name: function[name] for name in ("description", "strict") if function.get(name)}
    marks = {name: value for name, value in tool.items() if name not in {"type", "function"}}
    return made | kept | marks


def _tool_choice(choice: object) -> dict[str, Any] | None:
    if choice is None:
        return None
    if isinstance(choice, str) and choice in _TOOL_CHOICES:
        return {"type": _TOOL_CHOICES[choice]}
    function = choice.get("function") if isinstance(choice, Mapping) else None
    if isinstance(function, Mapping) and isinstance(function.get("name"), str):
        return {"type": "tool", "name": function["name"]}
    raise refused("tool_choice", "'auto', 'required', 'none' or one function")


def _put_format(body: dict[str, Any], wanted: Mapping[str, Any] | None) -> None:
    if wanted is None or wanted.get("type") == "text":
        return
    described = wanted.get("json_schema")
    schema = described.get("schema") if isinstance(described, Mapping) else None
    if wanted.get("type") != "json_schema" or not isinstance(described, Mapping) or not isinstance(schema, Mapping):
        raise refused("response_format", "JSON of a schema: the type 'json_schema', with json_schema.schema")
    check_taken(wanted, frozenset({"type", "json_schema"}), "response_format")
    check_taken(described, _OF_A_SCHEMA, "response_format.json_schema")
    said = [each for each in (described.get("description"), schema.get("description")) if each]
    about = {"description": "\n".join(map(str, said))} if said else {}
    try:
        format_ = {"type": "json_schema", "schema": closed(schema) | about}
    except OpenSchema as error:
        raise refused("response_format.json_schema.schema", str(error)) from error
    body["output_config"] = {**body.get("output_config", {}), "format": format_}


def _stop(body: dict[str, Any], _: str, value: Any) -> None:
    stops = [value] if isinstance(value, str) else value
    if stops:
        body["stop_sequences"] = stops


def _user(body: dict[str, Any], name: str, value: Any) -> None:
    if body.setdefault("metadata", {"user_id": value}) != {"user_id": value}:
        raise refused(name, "the one user whom 'metadata', 'user' or 'safety_identifier' names already")


def _metadata(body: dict[str, Any], name: str, value: Any) -> None:
    if value and not (isinstance(value, Mapping) and value.keys() == {"user_id"}):
        raise refused(name, "nothing but a user_id")
    if value:
        _user(body, name, value["user_id"])


def _tier(body: dict[str, Any], name: str, value: Any) -> None:
    if value not in _TIERS:
        raise refused(name, "auto or default")
    body["service_tier"] = _TIERS[value]


def _effort(body: dict[str, Any], _: str, value: Any) -> None:
    body["output_config"] = {**body.get("output_config", {}), "effort": value}


def _other(body: dict[str, Any], name: str, value: Any) -> None:
    if name not in _NO_SUCH_THING:
        body[name] = value
    elif value not in _NO_SUCH_THING[name]:
        raise refused(name, "there is no such setting; leave it out")


_FIELDS: Mapping[str, Callable[[dict[str, Any], str, Any], None]] = {
    "stop": _stop,
    "user": _user,
    "safety_identifier": _user,
    "metadata": _metadata,
    "service_tier": _tier,
    "reasoning_effort": _effort,
    "parallel_tool_calls": lambda *_: None,  # said with the tools
}
