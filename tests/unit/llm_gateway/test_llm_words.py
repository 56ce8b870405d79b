"""Scenarios, filled schemas and tool calls written as text."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders_llm_gateway import a_request

from cognitionos.llm_gateway.domain.chat import assistant, json_schema, system, tool, tool_result, user
from cognitionos.llm_gateway.domain.json_schema import least_value
from cognitionos.llm_gateway.domain.scenario import ScenarioInvalid, rules_from
from cognitionos.llm_gateway.domain.text_tool_calls import recovered_calls
from cognitionos.llm_gateway.infrastructure.scenarios import SHIPPED, load_rules
from cognitionos.llm_gateway.infrastructure.simulated_provider import SimulatedProvider

SAMPLE = [
    {
        "contains": ["supplier"],
        "tool_results": 0,
        "call": [{"name": "python", "arguments": {"code": "{{user:`(.+)`}}"}}],
    },
    {"contains": ["supplier"], "tool_results": 1, "json": {"best": "{{tool:0:rows.1.name}}", "n": "{{tool:0:count}}"}},
    {"contains": ["supplier"], "tool_results": 2, "say": "Both said: {{tool:0}} and {{tool:1}}."},
    {"system_contains": ["critic"], "assistant_turns": 0, "say": "Too short."},
    {"system_contains": ["critic"], "assistant_turns": 1, "say": "Good."},
]
PYTHON = tool("python", "Runs code", {"type": "object"})


def a_simulation(rules: list[dict[str, Any]] | None = None) -> SimulatedProvider:
    made = rules_from(SAMPLE if rules is None else rules, where="sample")
    return SimulatedProvider(lambda: made, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))


async def answer(messages: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    request = a_request(messages=tuple(messages), tools=(PYTHON,), **changes)
    wire = (await a_simulation().chat(request, model="scenarios")).wire
    message: dict[str, Any] = wire["choices"][0]["message"]
    return message


async def test_a_scenario_calls_the_offered_tool_with_words_of_the_user() -> None:
    message = await answer([user("Which SUPPLIER? `print(1)`")])

    (call,) = message["tool_calls"]
    assert call["function"] == {"name": "python", "arguments": '{"code":"print(1)"}'}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
async def test_without_a_scenario_a_tool_that_is_demanded_is_called_with_arguments_of_its_schema(choice: Any) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    request = a_request("hello", tools=(tool("weather", "Tells it", schema),), tool_choice=choice)

    wire = (await a_simulation([]).chat(request, model="scenarios")).wire

    (call,) = wire["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "weather"
    jsonschema.validate(json.loads(call["function"]["arguments"]), schema)
    assert wire["choices"][0]["finish_reason"] == "tool_calls"


async def test_a_scenario_never_calls_a_tool_that_is_not_offered() -> None:
    wire = (await a_simulation().chat(a_request("supplier `x`"), model="scenarios")).wire

    assert "words mean nothing" in wire["choices"][0]["message"]["content"]


async def test_what_a_tool_really_answered_decides_the_words() -> None:
    result = json.dumps({"count": 3, "rows": [{"name": "A"}, {"name": "B"}]})

    message = await answer([user("supplier"), assistant("", tool_calls=()), tool_result("1", result)])

    assert json.loads(message["content"]) == {"best": "B", "n": 3}


async def test_tool_results_count_from_the_last_user_message_and_fill_texts() -> None:
    earlier = [user("first"), tool_result("0", "old")]

    message = await answer([*earlier, user("supplier"), tool_result("1", "x"), tool_result("2", "y")])

    assert message["content"] == "Both said: x and y."


async def test_a_rule_without_the_value_it_needs_does_not_fit() -> None:
    message = await answer([user("supplier"), tool_result("1", "not json")])

    assert "words mean nothing" in message["content"]


async def test_turns_of_the_assistant_choose_the_rule() -> None:
    critic = system("You are the Critic.")

    assert (await answer([critic, user("draft")]))["content"] == "Too short."
    assert (await answer([critic, user("draft"), assistant("Too short."), user("again")]))["content"] == "Good."


async def test_equal_requests_get_equal_answers() -> None:
    one, two = [await answer([user("supplier `x`")]) for _ in range(2)]

    assert one == two


@pytest.mark.parametrize(
    "broken",
    [{}, [1], [{"contains": ["x"]}], [{"say": "a", "json": {}}], [{"say": "a", "when": 1}], [{"call": {"name": "f"}}]],
)
def test_a_broken_scenario_says_where(broken: object) -> None:
    with pytest.raises(ScenarioInvalid, match=r"file\.json"):
        rules_from(broken, where="file.json")


def test_scenario_files_load_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.json").write_text(json.dumps([{"say": name}]))

    assert [rule.content for rule in load_rules(tmp_path)] == ["a", "b"]
    assert isinstance(load_rules(SHIPPED), tuple)


PLAN = {
    "type": "object",
    "additionalProperties": False,
    "required": ["task_1", "task_2", "note"],
    "properties": {
        "task_1": {"$ref": "#/$defs/task"},
        "task_2": {"anyOf": [{"$ref": "#/$defs/task"}, {"type": "null"}]},
        "note": {"type": ["string", "null"]},
    },
    "$defs": {
        "task": {
            "type": "object",
            "required": ["title", "depends_on", "size", "kind", "at"],
            "properties": {
                "title": {"type": "string", "minLength": 12, "maxLength": 40},
                "depends_on": {"type": "array", "items": {"enum": ["task_1"]}, "minItems": 1},
                "size": {"type": "integer", "minimum": 2, "multipleOf": 5},
                "kind": {"const": "agent"},
                "at": {"type": "string", "format": "date-time"},
            },
        }
    },
}


async def test_without_a_scenario_a_schema_is_filled_with_its_least_value() -> None:
    request = a_request("anything", response_format=json_schema("plan", PLAN))

    wire = (await a_simulation([]).chat(request, model="scenarios")).wire

    value = json.loads(wire["choices"][0]["message"]["content"])
    jsonschema.validate(value, PLAN)
    assert value["task_2"] is None
    assert value["task_1"]["title"].startswith("simulated")


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    leaves = st.one_of(
        st.just({"type": "boolean"}),
        st.just({"type": "null"}),
        st.builds(
            lambda low, size: {"type": "integer", "minimum": low, "maximum": low + size},
            st.integers(-9, 9),
            st.integers(0, 9),
        ),
        st.builds(lambda low: {"type": "number", "exclusiveMinimum": low}, st.integers(-9, 9)),
        st.builds(lambda least: {"type": "string", "minLength": least, "maxLength": least + 9}, st.integers(0, 20)),
        st.builds(lambda values: {"enum": values}, st.lists(st.text(max_size=3), min_size=1, max_size=3)),
    )

    def nest(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        arrays = st.builds(lambda item, n: {"type": "array", "items": item, "minItems": n}, inner, st.integers(0, 2))
        unions = st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3))
        properties = st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3)
        objects = st.builds(lambda each: {"type": "object", "properties": each, "required": sorted(each)}, properties)
        return arrays | unions | objects

    return st.recursive(leaves, nest, max_leaves=8)


@given(schemas())
def test_every_filled_schema_is_valid(schema: dict[str, Any]) -> None:
    jsonschema.validate(least_value(schema), schema)


def recover(text: str) -> list[tuple[str, dict[str, Any]]]:
    calls = recovered_calls(text, offered={"weather", "python"}, new_id=lambda: "id")
    return [(call.name, call.parsed()) for call in calls]


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "weather", "arguments": {"city": "Bern"}}',
        '{"name": "weather", "parameters": {"city": "Bern"}}',
        '```json\n{"name": "weather", "arguments": {"city": "Bern"}}\n```',
        'Sure.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Bern"}}\n</tool_call>',
        '{"type": "function", "function": {"name": "weather", "arguments": "{\\"city\\": \\"Bern\\"}"}}',
        '[{"name": "weather", "arguments": {"city": "Bern"}}]',
    ],
)
def test_a_tool_call_written_as_text_is_recovered(text: str) -> None:
    assert recover(text) == [("weather", {"city": "Bern"})]


@pytest.mark.parametrize(
    "text",
    [
        "The weather is fine.",
        '{"name": "delete_all", "arguments": {}}',
        '{"city": "Bern"}',
        '{"name": "weather", "arguments": [1]}',
        '{"name": "weather", "arguments":',
        'As in {"name": "weather", "arguments": {}}',
        '[{"name": "weather", "arguments": {}}, {"name": "delete_all", "arguments": {}}]',
    ],
)
def test_anything_else_stays_the_text_it_is(text: str) -> None:
    assert recover(text) == []
