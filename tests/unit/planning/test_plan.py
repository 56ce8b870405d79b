"""Plans: what the schema offers, what is forgiven, what is refused."""

from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from cognitionos.planning.domain.graph import topological_order
from cognitionos.planning.domain.plan import InvalidPlan, plan_of, plan_schema

KEYS = [f"t{number}" for number in range(1, 13)]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYS, "x"]), inner, max_size=3),
    max_leaves=8,
)
tasks = st.fixed_dictionaries(
    {
        "title": st.text(max_size=20),
        "instructions": st.text(min_size=1, max_size=20).filter(lambda text: text.replace("\x00", "").strip()),
        "depends_on": st.lists(st.sampled_from(KEYS), max_size=2) | st.just([]) | anything,
    }
)


def a_task(*depends_on: str, **changes: Any) -> dict[str, Any]:
    return {"title": "do it", "instructions": "do it well", "depends_on": list(depends_on), **changes}


def test_the_schema_has_a_key_for_each_task_and_only_earlier_ones_to_depend_on() -> None:
    schema = plan_schema(3)

    assert schema["required"] == ["t1", "t2", "t3"]
    assert "depends_on" not in schema["properties"]["t1"]["properties"]
    third, nothing = schema["properties"]["t3"]["anyOf"]
    assert third["properties"]["depends_on"]["items"]["enum"] == ["t1", "t2"]
    assert nothing == {"type": "null"}


def test_a_large_plans_schema_describes_a_task_once() -> None:
    schema = plan_schema(100)

    assert schema["properties"]["t1"] == {"$ref": "#/$defs/task"}
    assert schema["properties"]["t100"]["anyOf"][0] == {"$ref": "#/$defs/task"}
    assert schema["$defs"]["task"]["properties"]["depends_on"]["items"] == {"type": "string"}
    assert len(str(schema)) < 10_000
    plan = plan_of({"t1": a_task("t2"), "t2": a_task(), "t99": None, "t100": a_task("t1", "t99")}, 100)
    assert [(task.key, task.depends_on) for task in plan.tasks] == [("t2", ()), ("t1", ("t2",)), ("t100", ("t1",))]


def test_every_object_of_the_schema_requires_all_its_keys_as_strict_providers_want() -> None:
    def objects(schema: Any) -> list[dict[str, Any]]:
        inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else []
        here = [schema] if isinstance(schema, dict) and schema.get("type") == "object" else []
        return here + [found for each in inner for found in objects(each)]

    for each in [*objects(plan_schema()), *objects(plan_schema(100))]:
        assert each["required"] == list(each["properties"])
        assert each["additionalProperties"] is False


def test_nulls_gaps_and_references_to_unused_tasks_are_dropped() -> None:
    plan = plan_of({"t1": a_task(), "t2": None, "t4": a_task("t1", "t2", "t1")})

    assert [(task.key, task.depends_on) for task in plan.tasks] == [("t1", ()), ("t4", ("t1",))]


def test_a_task_that_is_waited_for_and_was_forgotten_is_named() -> None:
    with pytest.raises(InvalidPlan, match="names 't9', which is no task of the plan"):
        plan_of({"t1": a_task(), "t2": a_task("t1", "t9")})


def test_a_task_comes_after_what_it_needs_and_the_others_stay_where_they_are() -> None:
    plan = plan_of({"t1": a_task("t3"), "t2": a_task(), "t3": a_task(), "t4": a_task("t1")})

    assert [task.key for task in plan.tasks] == ["t2", "t3", "t1", "t4"]


def test_a_list_may_name_tasks_that_come_later() -> None:
    plan = plan_of([a_task("b", key="a"), a_task(key="b")])

    assert [(task.key, task.depends_on) for task in plan.tasks] == [("t2", ()), ("t1", ("t2",))]


def test_what_can_mean_one_thing_only_is_taken() -> None:
    said = {"review": "True", "budget_share": "50 %", "expected_output": ["a", "b"], "depends_on": None}
    second = a_task(budget_share=50.0, review=None, title=7) | {"depends_on": "1"}

    first, last = plan_of({"t1": a_task() | said, "t2": second}).tasks

    assert (first.review, first.budget_share, first.expected_output, first.depends_on) == (True, 50, "a\nb", ())
    assert (last.review, last.budget_share, last.title, last.depends_on) == (False, 50, "7", ("t1",))


@pytest.mark.parametrize(
    "answer",
    [
        a_task(),
        [a_task()],
        {"plan": a_task()},
        {"tasks": [a_task()]},
        {"plan": {"tasks": [a_task()]}},
        {"plan": {"t1": a_task()}},
    ],
    ids=["one task", "a list", "a plan with a task", "tasks", "tasks in a plan", "a plan in a plan"],
)
def test_other_shapes_of_a_plan_of_one_task_are_taken(answer: Any) -> None:
    [task] = plan_of(answer).tasks

    assert (task.key, task.instructions) == ("t1", "do it well")


@pytest.mark.parametrize(("names", "references"), [(("a", "b"), ["a"]), ((1, 2), [1]), ((None, None), ["1", "t1"])])
def test_tasks_of_a_list_keep_what_they_call_each_other_by(names: Any, references: list[Any]) -> None:
    answer = [a_task(key=names[0]), a_task(key=names[1]) | {"depends_on": references}]

    assert [(task.key, task.depends_on) for task in plan_of(answer).tasks] == [("t1", ()), ("t2", ("t1",))]


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ({"t1": a_task(), "t2": a_task(), "t3": a_task(), "t4": None}, "'t3'"),
        ([a_task() for _ in range(3)], "'t3'"),
        ({"t1": a_task(), "final": a_task()}, "'final'"),
        ({f"t{n}": a_task() for n in range(1, 9)}, "'t3', 't4', 't5', 't6', 't7', ..."),
    ],
)
def test_tasks_beyond_the_cap_are_named_not_left_out(answer: Any, named: str) -> None:
    with pytest.raises(InvalidPlan) as refused:
        plan_of(answer, 2)

    assert refused.value.fields["$"] == f"{named} cannot be taken: a plan has at most 2 tasks, t1 to t2; use fewer"


def test_notes_beside_the_tasks_are_no_tasks() -> None:
    assert [task.key for task in plan_of({"t1": a_task(), "notes": {"why": "so"}}, 1).tasks] == ["t1"]


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        ([], "$"),
        ("t1", "$"),
        ({}, "t1"),
        ({"t1": None}, "t1"),
        ({"t1": "do it"}, "t1"),
        ({"t1": a_task(instructions="  ")}, "t1.instructions"),
        ({"t1": a_task(), "t4": a_task(instructions=None)}, "t4.instructions"),
        ({"t1": a_task(instructions="x" * 8_001)}, "t1.instructions"),
        ({"t1": a_task("zz")}, "t1.depends_on"),
        ({"t1": a_task("t13")}, "t1.depends_on"),
        ({"t1": a_task() | {"depends_on": {"t2": True}}}, "t1.depends_on"),
        ({"t1": a_task("t1")}, "$"),
        ({"t1": a_task("t2"), "t2": a_task("t1")}, "$"),
        ({"t1": a_task(review="yes")}, "t1.review"),
        ({"t1": a_task(review=1)}, "t1.review"),
        ({"t1": a_task(title={"a": 1})}, "t1.title"),
        ({"t1": a_task(expected_output=[1])}, "t1.expected_output"),
        ({"t1": a_task(capability=7)}, "t1.capability"),
        *(({"t1": a_task(budget_share=share)}, "t1.budget_share") for share in (-5, 300, "half", True, [5], "nan")),
    ],
)
def test_what_is_no_plan_is_refused_with_the_place_named(answer: Any, field: str) -> None:
    with pytest.raises(InvalidPlan) as refused:
        plan_of(answer)

    assert list(refused.value.fields) == [field]


def test_a_cycle_is_named() -> None:
    with pytest.raises(InvalidPlan) as refused:
        plan_of({"t1": a_task("t3"), "t2": a_task(), "t3": a_task("t1")})

    assert refused.value.fields == {"$": "the dependencies go round: t1 -> t3 -> t1"}


@given(st.dictionaries(st.sampled_from(KEYS), st.none() | tasks, min_size=1).filter(lambda plan: any(plan.values())))
def test_every_accepted_plan_is_a_graph_with_one_result(answer: dict[str, Any]) -> None:
    try:
        expansion = plan_of(answer).expansion()
    except InvalidPlan:
        reject()

    graph = {task.key: task.depends_on for task in expansion.tasks}
    order = topological_order(graph)
    assert order[-1] == expansion.result_key
    assert len(graph) == len(expansion.tasks)


@given(anything)
def test_whatever_a_model_says_is_a_plan_or_a_named_refusal(answer: Any) -> None:
    try:
        faults = {} if plan_of(answer).tasks else {"$": "an empty plan"}
        named = not faults
    except InvalidPlan as refused:
        named = bool(refused.fields)

    assert named
