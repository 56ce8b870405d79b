"""Every field of the official clients' calls, on its way to either transport: passed, told in other words, or refused.

The fields are read from the installed clients: a new version's new field fails here until somebody decides about it.
"""

# ruff: noqa: FBT003 - values of fields, in a table

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from anthropic.resources.beta.messages import Messages as BetaMessages
from anthropic.resources.messages import Messages
from openai.resources.chat.completions import Completions
from openai.resources.responses import Responses

from cognitionos.kernel.errors import DomainError
from cognitionos.llm_gateway.domain.chat import ChatRequest
from cognitionos.llm_gateway.infrastructure.anthropic_schema import message_body
from cognitionos.llm_gateway.infrastructure.messages_schema import messages_request
from cognitionos.llm_gateway.infrastructure.messages_terms import check_words
from cognitionos.llm_gateway.infrastructure.openai_schema import chat_request, decode_object, encode
from cognitionos.llm_gateway.infrastructure.responses_schema import responses_request

SAME, REFUSED, OURS = "same", "refused", "ours"
"""Arrives unchanged; is a 400 that names it; is for us and says nothing to the provider."""
OF_THE_CLIENT = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}
HI = [{"role": "user", "content": "hi"}]
HI_IN_BLOCKS = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
F = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
BRIEF = [{"type": "text", "text": "be brief"}]
TOLD = {"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object"}}}
CLOSED = {"type": "object", "properties": {}, "additionalProperties": False, "required": []}


@dataclass(frozen=True, kw_only=True)
class Sent:
    """How a field arrives: these fields of the provider's body."""

    fields: dict[str, Any]


def sent(**fields: Any) -> Sent:
    return Sent(fields=fields)


@dataclass(frozen=True)
class Case:
    """A field with a value that means something, and what becomes of it on its way to each transport."""

    name: str
    value: Any
    openai: str | Sent
    anthropic: str | Sent
    beside: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


CHAT = [
    Case("messages", HI, SAME, sent(messages=HI_IN_BLOCKS)),
    Case("model", "m", SAME, SAME),
    Case("audio", {"voice": "alloy", "format": "mp3"}, SAME, REFUSED),
    Case("frequency_penalty", 0.5, SAME, REFUSED),
    Case("function_call", "auto", SAME, REFUSED),
    Case("functions", [{"name": "f"}], SAME, REFUSED),
    Case("logit_bias", {"5": 1}, SAME, REFUSED),
    Case("logprobs", True, SAME, REFUSED),
    Case("max_completion_tokens", 7, SAME, sent(max_tokens=7)),
    Case("max_tokens", 7, SAME, SAME),
    Case("metadata", {"team": "a"}, SAME, REFUSED),
    Case("metadata", {"user_id": "a"}, SAME, SAME),
    Case("modalities", ["text", "audio"], SAME, REFUSED),
    Case("moderation", {"mode": "block"}, SAME, REFUSED),
    Case("n", 2, SAME, REFUSED),
    Case(
        "parallel_tool_calls",
        False,
        SAME,
        sent(tool_choice={"type": "auto", "disable_parallel_tool_use": True}),
        beside={"tools": [F]},
    ),
    Case("prediction", {"type": "content", "content": "x"}, SAME, REFUSED),
    Case("presence_penalty", 0.5, SAME, REFUSED),
    Case("prompt_cache_key", "k", SAME, REFUSED),
    Case("prompt_cache_options", {"mode": "explicit"}, SAME, REFUSED),
    Case("prompt_cache_retention", "24h", SAME, REFUSED),
    Case("reasoning_effort", "low", SAME, sent(output_config={"effort": "low"})),
    Case("response_format", {"type": "json_object"}, SAME, REFUSED),
    Case(
        "response_format",
        {"type": "json_schema", "json_schema": {"name": "a", "schema": CLOSED}},
        SAME,
        sent(output_config={"format": {"type": "json_schema", "schema": CLOSED}}),
    ),
    Case("safety_identifier", "a", SAME, sent(metadata={"user_id": "a"})),
    Case("safety_identifier", "a", SAME, REFUSED, beside={"user": "b"}),
    Case("seed", 1, SAME, REFUSED),
    Case("service_tier", "default", SAME, sent(service_tier="standard_only")),
    Case("service_tier", "flex", SAME, REFUSED),
    Case("stop", "x", SAME, sent(stop_sequences=["x"])),
    Case("store", True, SAME, REFUSED),
    Case("stream", True, OURS, OURS),
    Case("stream_options", {"include_usage": True}, OURS, OURS),
    Case("stream_options", {"include_obfuscation": True}, SAME, REFUSED),
    Case("temperature", 0.5, SAME, SAME),
    Case("temperature", 1.5, SAME, REFUSED),
    Case("tool_choice", "required", SAME, sent(tool_choice={"type": "any"}), beside={"tools": [F]}),
    Case("tool_choice", "required", SAME, REFUSED),
    Case("tools", [F], SAME, sent(tools=[{"name": "f", "input_schema": {"type": "object"}}])),
    Case("top_logprobs", 2, SAME, REFUSED),
    Case("top_p", 0.5, SAME, SAME),
    Case("user", "a", SAME, sent(metadata={"user_id": "a"})),
    Case("verbosity", "low", SAME, REFUSED),
    Case("web_search_options", {}, SAME, REFUSED),
]
RESPONSES = [
    Case("background", True, REFUSED, REFUSED),
    Case("context_management", [{"type": "compaction"}], REFUSED, REFUSED),
    Case("conversation", "conv_1", REFUSED, REFUSED),
    Case("include", ["file_search_call.results"], REFUSED, REFUSED),
    Case("input", "hi", sent(messages=HI), sent(messages=HI_IN_BLOCKS)),
    Case(
        "instructions", "be brief", sent(messages=[{"role": "system", "content": "be brief"}, *HI]), sent(system=BRIEF)
    ),
    Case("max_output_tokens", 7, sent(max_tokens=7), sent(max_tokens=7)),
    Case("max_tool_calls", 3, REFUSED, REFUSED),
    Case("metadata", {"team": "a"}, OURS, OURS),
    Case("model", "m", SAME, SAME),
    Case("moderation", {"mode": "block"}, SAME, REFUSED),
    Case("parallel_tool_calls", False, SAME, OURS),
    Case("previous_response_id", "resp_1", REFUSED, REFUSED),
    Case("prompt", {"id": "pmpt_1"}, REFUSED, REFUSED),
    Case("prompt_cache_key", "k", SAME, REFUSED),
    Case("prompt_cache_options", {"mode": "explicit"}, SAME, REFUSED),
    Case("prompt_cache_retention", "24h", SAME, REFUSED),
    Case("reasoning", {"effort": "low"}, sent(reasoning_effort="low"), sent(output_config={"effort": "low"})),
    Case("reasoning", {"summary": "auto"}, OURS, OURS),
    Case("safety_identifier", "a", SAME, sent(metadata={"user_id": "a"})),
    Case("service_tier", "default", SAME, sent(service_tier="standard_only")),
    Case("store", True, REFUSED, REFUSED),
    Case("stream", True, OURS, OURS),
    Case("stream_options", {"include_obfuscation": False}, OURS, OURS),
    Case("temperature", 0.5, SAME, SAME),
    Case("text", {"verbosity": "low"}, sent(verbosity="low"), REFUSED),
    Case("text", {"colour": "red"}, REFUSED, REFUSED),
    Case("tool_choice", "required", SAME, REFUSED),
    Case("tools", [{"type": "web_search"}], REFUSED, REFUSED),
    Case(
        "tools",
        [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        sent(
            tools=[{"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object"}}}]
        ),
        sent(tools=[{"name": "f", "input_schema": {"type": "object"}}]),
    ),
    Case("top_logprobs", 2, REFUSED, REFUSED),
    Case("top_p", 0.5, SAME, SAME),
    Case("truncation", "auto", OURS, OURS),
    Case("user", "a", SAME, sent(metadata={"user_id": "a"})),
]
TOOL = {"name": "f", "input_schema": {"type": "object"}, "eager_input_streaming": True}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 1}
MESSAGES = [
    Case("max_tokens", 7, SAME, SAME),
    Case("messages", HI, SAME, SAME),
    Case("model", "m", SAME, SAME),
    Case("cache_control", {"type": "ephemeral"}, OURS, SAME),
    Case("container", "c", REFUSED, SAME),
    Case("diagnostics", {"previous_message_id": "m"}, REFUSED, SAME),
    Case("inference_geo", "eu", REFUSED, SAME),
    Case("metadata", {"user_id": "a"}, sent(user="a"), SAME),
    Case("metadata", {"team": "a"}, SAME, SAME),
    Case("output_config", {"effort": "low"}, sent(reasoning_effort="low"), SAME),
    Case("output_config", {"format": {"type": "grammar"}}, REFUSED, SAME),
    Case("output_config", {"task_budget": {"type": "tokens", "total": 9}}, REFUSED, SAME),
    Case("service_tier", "standard_only", sent(service_tier="default"), SAME),
    Case("speed", "fast", REFUSED, SAME),
    Case("speed", "standard", OURS, SAME),
    Case("stop_sequences", ["x"], sent(stop=["x"]), SAME),
    Case("stream", True, OURS, OURS),
    Case("system", "be brief", sent(messages=[{"role": "system", "content": "be brief"}, *HI]), SAME),
    Case("temperature", 0.5, SAME, SAME),
    Case("thinking", {"type": "enabled", "budget_tokens": 2000}, REFUSED, SAME),
    Case("thinking", {"type": "between_tools"}, REFUSED, SAME),
    Case("thinking", {"type": "adaptive"}, OURS, SAME),
    Case("thinking", {"type": "disabled"}, OURS, SAME),
    Case("tool_choice", {"type": "any"}, sent(tool_choice="required"), SAME, beside={"tools": [TOOL]}),
    Case("tools", [TOOL], sent(tools=[TOLD]), SAME),
    Case("tools", [TOOL | {"defer_loading": True}], REFUSED, SAME),
    Case("tools", [TOOL | {"input_examples": [{"a": 1}]}], REFUSED, SAME),
    Case("tools", [TOOL | {"allowed_callers": ["code_execution_20260120"]}], REFUSED, SAME),
    Case("tools", [TOOL | {"of_the_provider": 1}], sent(tools=[TOLD | {"of_the_provider": 1}]), SAME),
    Case("tools", [{"type": "of_the_provider"}], SAME, SAME),
    Case("tools", [SEARCH], REFUSED, SAME),
    Case("top_k", 5, SAME, SAME),
    Case("top_p", 0.5, SAME, SAME),
    Case("user_profile_id", "u", REFUSED, SAME),
    Case("workspace_id", "w", REFUSED, SAME),
    Case("nobody_knows", "w", SAME, SAME),
]
BETA = [
    Case("betas", ["b"], SAME, SAME),  # a header of the client's
    Case("billing_policy", {"type": "billing_policy", "bill_to": "user_profile"}, REFUSED, SAME),
    Case("compaction", {"type": "summary"}, REFUSED, SAME),
    Case("context_management", {"edits": [{"type": "clear_tool_uses_20250919"}]}, REFUSED, SAME),
    Case("fallback_credit_token", "t", REFUSED, SAME),
    Case("fallbacks", [{"model": "m"}], REFUSED, SAME),
    Case("mcp_servers", [{"type": "url", "url": "https://mcp.test", "name": "m"}], REFUSED, SAME),
    Case("mcp_servers", [], OURS, SAME),
    Case("thread", {"type": "create"}, REFUSED, SAME),
]
FORMATS: dict[str, tuple[Callable[..., Any], dict[str, Any], Callable[[dict[str, Any]], ChatRequest], list[Case]]] = {
    "chat": (Completions.create, {"messages": HI}, chat_request, CHAT),
    "responses": (Responses.create, {"input": "hi"}, responses_request, RESPONSES),
    "messages": (Messages.create, {"messages": HI, "max_tokens": 5}, messages_request, MESSAGES),
    "beta": (BetaMessages.create, {"messages": HI, "max_tokens": 5}, messages_request, [*MESSAGES, *BETA]),
}


def to_openai(request: ChatRequest) -> dict[str, Any]:
    if request.native is not None:
        check_words(request.native)
    return decode_object(encode(request.wire("m")))


def to_anthropic(request: ChatRequest) -> dict[str, Any]:
    return decode_object(encode(message_body(request, model="m", max_tokens=request.max_tokens or 9)))


@pytest.mark.parametrize("format_", FORMATS)
def test_somebody_has_decided_about_every_field_of_the_clients(format_: str) -> None:
    create, *_, cases = FORMATS[format_]

    fields = inspect.signature(create).parameters.keys() - OF_THE_CLIENT

    assert fields - {case.name for case in cases} == set()


@pytest.mark.parametrize("transport", ["openai", "anthropic"])
@pytest.mark.parametrize(("format_", "case"), [(name, case) for name in FORMATS for case in FORMATS[name][-1]], ids=str)
def test_a_field_is_passed_told_in_other_words_or_refused(format_: str, case: Case, transport: str) -> None:
    _, least, read, _ = FORMATS[format_]
    expected: str | Sent = getattr(case, transport)
    send = to_openai if transport == "openai" else to_anthropic

    if expected == REFUSED:
        with pytest.raises(DomainError) as refusal:
            send(read(least | case.beside | {case.name: case.value}))
        value = case.value if isinstance(case.value, dict) else {}
        assert any(each.split(".")[0] in {case.name, *case.beside, *value} for each in refusal.value.fields)
        return
    body, without = send(read(least | case.beside | {case.name: case.value})), send(read(least | case.beside))

    if expected == OURS:
        assert case.name not in body
    else:
        wanted = {case.name: case.value} if expected == SAME else expected.fields  # type: ignore[union-attr]
        assert {name: body.get(name) for name in wanted} == wanted
        assert {name: value for name, value in body.items() if name not in {*wanted, *without}} == {}
