"""What a task may take in by reference is counted before it is written out, in time that its size does not set."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cognitionos.planning.domain.intake import DEEPEST_IN, MOST_FANNED, MOST_IN, InputTooLarge, Intake, weight
from cognitionos.planning.domain.map_task import weight_of_items
from cognitionos.planning.domain.reference import STATE, Known, resolved

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="ascii")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def ref(text: str) -> dict[str, str]:
    return {"$ref": text}


def doubled(times: int) -> Any:
    value: Any = "0123456789"
    for _ in range(times):
        value = {"a": value, "b": value}
    return value


@given(JSON)
def test_a_weight_is_about_what_the_value_is_as_json(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)

    assert len(text) / 8 <= weight(value, MOST_IN, "it") <= 32 * len(text) + 32


@pytest.mark.parametrize(
    "much",
    [doubled(64), [doubled(20)] * 1000, [[0] * 100_000] * 100_000, [10**3000] * 100_000, [{"k" * 1000: 0}] * 100_000],
)
def test_what_the_same_parts_come_to_is_refused_without_being_written_out(much: Any) -> None:
    began = time.process_time()

    with pytest.raises(InputTooLarge):
        weight(much, MOST_IN, "it")

    assert time.process_time() - began < 10


def test_the_refusal_names_the_field_and_the_reference_and_says_what_to_do() -> None:
    known = Known(outputs={"a": doubled(20)})
    spec = {"input": [ref("tasks.a.output"), ref("tasks.a.output.a")]}

    with pytest.raises(InputTooLarge) as refused:
        resolved("b", "value", spec, known, Intake())

    assert list(refused.value.fields) == ["input"]
    assert "'tasks.a.output'" in refused.value.detail
    assert "Refer to the part" in refused.value.detail
    assert resolved("b", "value", {"input": ref("tasks.a.output.a.a.a.a")}, known, Intake())


def test_references_count_together_however_small_each_is() -> None:
    known, intake = Known(run_input="x" * (MOST_IN // 4)), Intake()

    with pytest.raises(InputTooLarge):
        resolved("b", "http", {"url": "u", "json": [ref("run.input")] * 4}, known, intake)

    assert intake.taken == MOST_IN


def test_what_the_items_of_a_map_gave_counts_as_its_input() -> None:
    items = {f"m[{number}]": "x" * 1000 for number in range(20_000)}
    spec = {"over": [], "task": {}, STATE: {"items": len(items)}}

    with pytest.raises(InputTooLarge, match="the map 'm'"):
        resolved("m", "map", spec, Known(outputs=items), Intake())


def test_what_is_nested_too_deeply_is_refused() -> None:
    deep: Any = 1
    for _ in range(DEEPEST_IN + 1):
        deep = [deep]

    with pytest.raises(InputTooLarge, match="within each other"):
        weight(deep, MOST_IN, "it")


def test_the_tasks_of_a_map_s_items_count_together() -> None:
    task = {"kind": "value", "input": "x" * 100_000}

    assert weight_of_items({"over": [1, 2], "task": task}) > 200_000
    with pytest.raises(InputTooLarge) as refused:
        weight_of_items({"over": [1] * (MOST_FANNED // 90_000), "task": task})
    assert list(refused.value.fields) == ["task"]
