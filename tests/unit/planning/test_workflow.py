"""Workflows are checked whole when they are declared, and references are followed in one pass."""

import json
import time
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.planning.builders import NOON

from cognitionos.planning.application.values import compute_wait
from cognitionos.planning.application.workflows import has_nul
from cognitionos.planning.domain.intake import Intake
from cognitionos.planning.domain.reference import STATE, Known, Reference, UnresolvedReference, references_in, resolve
from cognitionos.planning.domain.task import Postponed, Succeeded
from cognitionos.planning.domain.workflow import (
    DeclaredTask,
    InvalidRunInput,
    InvalidWorkflow,
    Workflow,
    check_tasks,
    checked_name,
)

KEYS = st.lists(st.from_regex(r"[a-z_][a-z0-9_-]{0,5}", fullmatch=True), min_size=1, max_size=12, unique=True)


def a_value(*after: str, of: Any = None) -> DeclaredTask:
    return DeclaredTask(kind="value", depends_on=after, input=of)


def faults_of(**tasks: DeclaredTask) -> dict[str, str]:
    with pytest.raises(InvalidWorkflow) as refused:
        check_tasks(tasks)
    return refused.value.fields


def ref(text: Any) -> dict[str, Any]:
    return {"$ref": text}


def a_workflow(**tasks: DeclaredTask) -> Workflow:
    return Workflow(id=uuid4(), tenant_id=uuid4(), name="w", version=1, digest="", created_at=NOON, tasks=tasks)


def test_every_fault_is_named_by_its_field_at_once() -> None:
    faults = faults_of(
        a=DeclaredTask(kind="dance"),
        b=a_value("nobody", "a"),
        c=DeclaredTask(kind="http", input={"method": "FETCH", "url": "ftp://x", "body": 1}),
        d=DeclaredTask(kind="agent", input={}),
        e=DeclaredTask(kind="agent", input="do it"),
        f=a_value(of={"x": [ref("tasks.a")], "y": {"$ref": "run.input", "more": 1}}),
    )

    assert list(faults) == [
        "tasks.a.kind",
        "tasks.b.depends_on",
        "tasks.c.input.body",
        "tasks.c.input.method",
        "tasks.c.input.url",
        "tasks.d.input.instructions",
        "tasks.e.input",
        "tasks.f.input.y",
        "tasks.f.input.x.0",
    ]
    assert "'dance'" in faults["tasks.a.kind"]
    assert "'nobody'" in faults["tasks.b.depends_on"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, ""),
        ({"duration_s": 1, "until": "2026-11-21T12:00:00Z"}, ""),
        ({"duration_s": -1}, ".duration_s"),
        ({"duration_s": True}, ".duration_s"),
        ({"until": "2026-11-21T12:00:00"}, ".until"),
        ({"until": "tomorrow"}, ".until"),
        ({"until": 5}, ".until"),
    ],
)
def test_a_wait_says_how_long_or_until_when(given: dict[str, Any], field: str) -> None:
    assert list(faults_of(a=DeclaredTask(kind="wait", input=given))) == [f"tasks.a.input{field}"]


def test_a_wait_is_postponed_to_its_end_whoever_takes_it_up_and_then_over() -> None:
    first = compute_wait({"duration_s": 60}, NOON)
    assert isinstance(first, Postponed)

    again = compute_wait({"duration_s": 60, STATE: first.state}, NOON + timedelta(seconds=20))
    over = compute_wait({"duration_s": 60, STATE: first.state}, NOON + timedelta(seconds=60))

    assert (first.after_s, again) == (60, Postponed(state=first.state, after_s=40))
    assert over == Succeeded(output={"until": "2026-11-21T12:01:00+00:00"})


def test_a_cycle_is_named() -> None:
    faults = faults_of(a=a_value("c"), b=a_value("a"), c=a_value("b"), d=a_value("a"))

    assert faults == {"tasks": "The dependencies go round: a -> c -> b -> a"}


def test_a_reference_to_something_not_upstream_is_refused() -> None:
    faults = faults_of(
        a=a_value(),
        b=a_value("a"),
        c=a_value("b", of=[ref("tasks.a.output"), ref("tasks.b.output.x"), ref("tasks.d.output")]),
        d=a_value(of=ref("tasks.nobody.output")),
        e=a_value(of=ref("tasks.e.output")),
    )

    assert set(faults) == {"tasks.c.input.2", "tasks.d.input", "tasks.e.input"}


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "a" * 101, "a\x00"])
def test_a_name_is_plain(name: str) -> None:
    with pytest.raises(InvalidWorkflow):
        checked_name(name)


@given(KEYS, st.data())
def test_a_graph_is_taken_whatever_comes_before_can_be_referred_to_and_a_back_edge_is_named(
    keys: list[str], data: st.DataObject
) -> None:
    tasks: dict[str, DeclaredTask] = {}
    before: dict[str, set[str]] = {}
    for number, key in enumerate(keys):
        parents = data.draw(st.lists(st.sampled_from(keys[:number]), unique=True, max_size=3)) if number else []
        before[key] = {*parents}.union(*(before[parent] for parent in parents))
        tasks[key] = a_value(*parents, of=[ref(f"tasks.{each}.output") for each in sorted(before[key])])
    check_tasks(tasks)

    first, last = keys[0], keys[-1]
    stranger = {**tasks, first: a_value(of=ref(f"tasks.{last}.output"))}
    with pytest.raises(InvalidWorkflow) as refused:
        check_tasks(stranger)
    assert list(refused.value.fields) == [f"tasks.{first}.input"]

    if first in before[last]:
        with pytest.raises(InvalidWorkflow) as refused:
            check_tasks({**tasks, first: a_value(last)})
        cycle = refused.value.fields["tasks"].removeprefix("The dependencies go round: ").split(" -> ")
        assert cycle[0] == cycle[-1]
        looped = {**tasks, first: a_value(last)}
        assert all(parent in looped[key].depends_on for key, parent in pairwise(cycle))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON, JSON)
def test_what_a_reference_brings_in_is_data(run_input: Any, output: Any) -> None:
    spec = {"a": ref("run.input"), "b": [1, ref("tasks.t.output")], "c": ref("tasks.skipped.output.deep")}

    found = resolve(spec, Known(run_input=run_input, outputs={"t": output}), Intake())

    assert found == {"a": run_input, "b": [1, output], "c": None}


def test_a_reference_goes_down_a_path_of_names_and_numbers() -> None:
    known = Known(run_input={"list": [{"x": 7}]}, outputs={"t": "text"})

    assert resolve(ref("run.input.list.0.x"), known, Intake()) == 7
    assert references_in([ref("run.input.list.0.x")]) == [Reference(task=None, path=("list", "0", "x"))]
    for wrong in ("run.input.list.1", "run.input.none", "run.input.list.x", "tasks.t.output.0"):
        with pytest.raises(UnresolvedReference, match=wrong):
            resolve(ref(wrong), known, Intake())


@pytest.mark.parametrize("text", ["", "run", "run.output", "tasks.a", "tasks..output", "run.input.", 1, None, ["run"]])
def test_what_is_no_reference_is_refused(text: Any) -> None:
    assert list(faults_of(a=a_value(of=ref(text)))) == ["tasks.a.input"]


def test_input_that_is_nested_too_deeply_is_refused() -> None:
    deep: Any = 0
    for _ in range(900):
        deep = [deep]

    assert list(faults_of(a=a_value(of=deep)).values()) == ["is nested too deeply"]


def test_a_run_s_input_must_have_what_tasks_refer_to() -> None:
    workflow = a_workflow(a=a_value(of=[ref("run.input.x.y"), ref("run.input.z")]))

    workflow.input_of({"x": {"y": 1}, "z": None})
    with pytest.raises(InvalidRunInput) as refused:
        workflow.input_of({"x": {}})

    assert set(refused.value.fields) == {"input.x.y", "input.z"}


def test_the_result_is_the_one_last_task_s() -> None:
    assert a_workflow(a=a_value(), b=a_value("a")).result_key == "b"
    assert a_workflow(a=a_value(), b=a_value()).result_key is None


@given(st.text(alphabet='\x00\\u0"a'))
def test_a_nul_is_seen_through_its_escapes(text: str) -> None:
    assert has_nul(json.dumps(text)) == ("\x00" in text)


def test_ten_thousand_tasks_in_a_chain_that_refer_to_far_ancestors_are_checked_in_time() -> None:
    tasks = {"t0": a_value()}
    for n in range(1, 10_000):
        tasks[f"t{n}"] = a_value(f"t{n - 1}", of=[ref(f"tasks.t{n // 2}.output"), ref("run.input.x")])
    started = time.process_time()

    check_tasks(tasks)

    assert time.process_time() - started < 1.5
