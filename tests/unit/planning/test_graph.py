"""Graphs: order, cycles, and following edges through pure tasks."""

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cognitionos.kernel.ids import new_id
from cognitionos.planning.domain.graph import InvalidGraph, leaves, topological_order
from cognitionos.planning.domain.progress import LATER, Edges, Waiting, advance
from cognitionos.planning.domain.task import Succeeded, TaskSpec, in_order

graphs = st.integers(1, 25).flatmap(
    lambda size: st.lists(st.sets(st.integers(0, size - 1)), min_size=size, max_size=size).map(
        lambda rows: {f"t{n}": tuple(f"t{m}" for m in sorted(row) if m < n) for n, row in enumerate(rows)}
    )
)


@given(graphs, st.randoms(use_true_random=False))
def test_each_key_comes_after_what_it_depends_on(graph: dict[str, tuple[str, ...]], chance: object) -> None:
    shuffled = dict(sorted(graph.items(), key=lambda _: chance.random()))  # type: ignore[attr-defined]

    order = topological_order(shuffled)

    assert sorted(order) == sorted(graph)
    assert all(order.index(parent) < order.index(key) for key, parents in graph.items() for parent in parents)


def test_a_chain_of_ten_thousand_does_not_recurse() -> None:
    chain = {f"t{n}": ((f"t{n - 1}",) if n else ()) for n in reversed(range(10_000))}

    assert topological_order(chain) == [f"t{n}" for n in range(10_000)]


def test_a_cycle_is_refused_and_named() -> None:
    with pytest.raises(InvalidGraph, match=r"b -> c -> b|c -> b -> c"):
        topological_order({"a": (), "b": ("a", "c"), "c": ("b",), "d": ("c",)})


def test_a_missing_key_is_refused_and_named() -> None:
    with pytest.raises(InvalidGraph, match="'a' depends on 'b'"):
        topological_order({"a": ("b",)})


def test_leaves_are_what_nothing_depends_on() -> None:
    assert leaves({"a": (), "b": ("a",), "c": ("a",)}) == ["b", "c"]


def test_edges_become_ids_in_both_directions_each_once() -> None:
    specs = (TaskSpec(key="b", kind="value", depends_on=("a", "a")), TaskSpec(key="a", kind="value"))

    first, second = in_order(specs, first_position=7, new_id=new_id)

    assert (first.spec.key, first.position, second.position) == ("a", 7, 8)
    assert (first.dependents, second.dependencies) == ((second.id,), (first.id,))


@given(graphs)
def test_ending_the_roots_of_a_pure_graph_runs_all_of_it_once(graph: dict[str, tuple[str, ...]]) -> None:
    tasks = in_order(tuple(TaskSpec(key=k, kind="value", depends_on=v) for k, v in graph.items()), **_PLACE)
    roots = [task for task in tasks if not task.dependencies]
    waiting = {task.id: _waiting(task.id, task.spec.key, len(task.dependencies), task.dependents) for task in tasks}

    progress = advance([Edges(root.dependents) for root in roots], waiting, lambda node: Succeeded(output=node.key))

    ran = [node.key for node, _ in progress.done]
    assert sorted(ran) == sorted(task.spec.key for task in tasks if task.dependencies)
    assert not progress.fewer


def test_a_task_with_a_parent_elsewhere_only_has_its_counter_lowered() -> None:
    child, stranger = uuid4(), uuid4()
    waiting = {child: _waiting(child, "child", 2, ())}

    progress = advance([Edges((child, stranger))], waiting, lambda _: LATER)

    assert not progress.done
    assert progress.fewer == {child: 1, stranger: 1}


_PLACE = {"first_position": 0, "new_id": new_id}


def _waiting(task_id: UUID, key: str, pending: int, dependents: tuple[UUID, ...]) -> Waiting:
    return Waiting(id=task_id, run_id=uuid4(), key=key, kind="value", spec={}, pending=pending, dependents=dependents)
