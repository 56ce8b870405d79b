"""Conditions: what they may ask, and which tasks go on, against a model that looks at the whole graph."""

from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.planning.builders import NOON

from cognitionos.kernel.ids import new_id
from cognitionos.planning.application.fanning import compute_condition
from cognitionos.planning.domain.condition import NotComparable, holds
from cognitionos.planning.domain.progress import Edges, Waiting, advance
from cognitionos.planning.domain.task import NewTask, Succeeded, TaskSpec, in_order


@pytest.mark.parametrize(
    ("op", "left", "right", "expected"),
    [
        ("==", 1, 1.0, True),
        ("==", True, 1, False),
        ("!=", {"a": [1]}, {"a": [1]}, False),
        ("<", 1, 2.5, True),
        (">=", "b", "a", True),
        ("in", "a", ["b", "a"], True),
        ("in", True, [1], False),
        ("==", [True], [1], False),
        ("==", {"ok": True}, {"ok": 1}, False),
        ("==", {"a": [1, {"b": 2.0}]}, {"a": [1.0, {"b": 2}]}, True),
        ("==", [1], [1, 2], False),
        ("in", [False], [[0]], False),
        ("in", "key", {"key": 1}, True),
        ("contains", "haystack", "hay", True),
        ("contains", [1, 2], 3, False),
        ("exists", None, None, False),
        ("exists", 0, None, True),
        ("truthy", "", None, False),
        ("truthy", [0], None, True),
    ],
)
def test_a_condition_compares_as_json_does(op: str, left: Any, right: Any, *, expected: bool) -> None:
    assert holds(op, left, right) is expected


@pytest.mark.parametrize(("op", "left", "right"), [("<", 1, "2"), (">", True, 0), ("<=", None, 1), ("in", 1, "12")])
def test_what_has_no_order_is_refused_by_name(op: str, left: Any, right: Any) -> None:
    with pytest.raises(NotComparable, match=op):
        holds(op, left, right)


def test_the_branch_that_was_not_chosen_is_skipped_and_a_task_of_both_is_not() -> None:
    spec = {"left": 3, "op": ">", "right": 2, "then": ["a", "both"], "else": ["b", "both"]}

    assert compute_condition(spec, NOON) == Succeeded(output=True, skips=frozenset({"b"}))
    assert compute_condition({**spec, "left": 1}, NOON) == Succeeded(output=False, skips=frozenset({"a"}))


@st.composite
def branching_graphs(draw: st.DrawFn) -> tuple[dict[str, tuple[str, ...]], dict[str, frozenset[str]]]:
    """Dependencies by key, and what each condition (some of the keys) does not choose of its dependents."""
    size = draw(st.integers(2, 16))
    depends_on = {
        f"t{n}": tuple(f"t{m}" for m in sorted(draw(st.sets(st.integers(0, max(n - 1, 0)), max_size=3))) if m < n)
        for n in range(size)
    }
    cuts = {}
    for key in draw(st.sets(st.sampled_from(sorted(depends_on)))):
        children = [child for child, parents in depends_on.items() if key in parents]
        cuts[key] = frozenset(draw(st.sets(st.sampled_from(children)))) if children else frozenset()
    return depends_on, cuts


def skipped_by_the_model(depends_on: dict[str, tuple[str, ...]], cuts: dict[str, frozenset[str]]) -> set[str]:
    """Keys are in topological order: a task is skipped if one that ran cut it, or all that it depends on are."""
    skipped: set[str] = set()
    for key, parents in depends_on.items():
        is_cut = any(key in cuts.get(parent, ()) for parent in parents if parent not in skipped)
        if is_cut or (parents and all(parent in skipped for parent in parents)):
            skipped.add(key)
    return skipped


@given(branching_graphs(), st.sampled_from(["all pure", "some pure", "none pure"]), st.randoms(use_true_random=False))
def test_skips_go_as_far_as_the_model_says_in_whatever_order_tasks_end(
    drawn: tuple[dict[str, tuple[str, ...]], dict[str, frozenset[str]]], purity: str, chance: Any
) -> None:
    depends_on, cuts = drawn
    specs = tuple(TaskSpec(key=key, kind="value", depends_on=parents) for key, parents in depends_on.items())
    is_pure = {key: purity == "all pure" or (purity == "some pure" and chance.random() < 0.5) for key in depends_on}
    world = _World(in_order(specs, first_position=0, new_id=new_id), cuts, is_pure)

    world.run(chance)

    expected = skipped_by_the_model(depends_on, cuts)
    assert world.skipped == expected
    assert world.ran == Counter(set(depends_on) - expected)


class _World:
    """A store of counters around `advance`, as the database keeps them: one commit after the other."""

    def __init__(self, tasks: list[NewTask], cuts: dict[str, frozenset[str]], is_pure: dict[str, bool]) -> None:
        self.tasks = {task.id: task for task in tasks}
        self.cuts, self.is_pure = cuts, is_pure
        self.pending = {task.id: len(task.dependencies) for task in tasks}
        self.skips: Counter[UUID] = Counter()
        self.ready = [task.id for task in tasks if not task.dependencies]
        self.ran: Counter[str] = Counter()
        self.skipped: set[str] = set()

    def run(self, chance: Any) -> None:
        while self.ready:
            batch = [self.ready.pop(chance.randrange(len(self.ready))) for _ in range(min(2, len(self.ready)))]
            self.ran.update(self.tasks[each].spec.key for each in batch)
            edges = [Edges(self.tasks[each].dependents, cut=self._cut(each)) for each in batch]
            while edges:
                edges = self._commit(edges)

    def _commit(self, edges: list[Edges]) -> list[Edges]:
        progress = advance(edges, self._waiting(), lambda node: Succeeded(output=None, skips=self._cut(node.id)))
        for node, _ in progress.done:
            self.ran[node.key] += 1
            del self.pending[node.id]
        for node in progress.skipped:
            self._skip(node.id)
        again = []
        for task_id, number in progress.fewer.items():
            self.pending[task_id] -= number
            self.skips[task_id] += progress.skips[task_id]
            if self.pending[task_id] == 0:
                parents = len(self.tasks[task_id].dependencies)
                if 0 < self.skips[task_id] >= parents:
                    self._skip(task_id)
                    again.append(Edges(self.tasks[task_id].dependents, is_skipped=True))
                else:
                    self.ready.append(task_id)
                    del self.pending[task_id]
        return again

    def _cut(self, task_id: UUID) -> frozenset[str]:
        return self.cuts.get(self.tasks[task_id].spec.key, frozenset())

    def _skip(self, task_id: UUID) -> None:
        self.skipped.add(self.tasks[task_id].spec.key)
        del self.pending[task_id]

    def _waiting(self) -> dict[UUID, Waiting]:
        run_id = uuid4()
        return {
            task_id: Waiting(
                id=task_id,
                run_id=run_id,
                key=self.tasks[task_id].spec.key,
                kind="value",
                spec={},
                pending=pending,
                dependents=self.tasks[task_id].dependents,
                is_pure=self.is_pure[self.tasks[task_id].spec.key],
                parents=len(self.tasks[task_id].dependencies),
                skipped=self.skips[task_id],
            )
            for task_id, pending in self.pending.items()
            if pending
        }
