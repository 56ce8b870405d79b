"""The longest chain by measured seconds."""

from uuid import UUID

from cognitionos.kernel.ids import new_id
from cognitionos.planning.domain.critical_path import Measured, critical_path


def measured(**tasks: tuple[float, list[str]]) -> list[Measured]:
    """Tasks by key with seconds and what they depend on, in order."""
    ids = {key: new_id() for key in tasks}

    def children(key: str) -> tuple[UUID, ...]:
        return tuple(ids[other] for other, (_, parents) in tasks.items() if key in parents)

    return [
        Measured(id=ids[key], key=key, kind="step", seconds=seconds, dependents=children(key))
        for key, (seconds, _) in tasks.items()
    ]


def test_the_slower_of_two_branches_decides() -> None:
    path = critical_path(measured(a=(1, []), fast=(1, ["a"]), slow=(3, ["a"]), end=(1, ["fast", "slow"])))

    assert [task.key for task in path.tasks] == ["a", "slow", "end"]
    assert (path.length_s, path.work_s, path.most_speed_up, path.speed_up(5.5)) == (5, 6, 1.2, 6 / 5.5)


def test_what_a_plan_brought_about_comes_after_it_and_a_map_takes_what_its_items_take() -> None:
    plan, task, summary = measured(plan=(2, []), t1=(3, []), summary=(1, ["t1"]))
    after, over = measured(each=(9, []), before=(4, []))
    items = [
        Measured(id=new_id(), key=f"each[{n}]", kind="step", seconds=n + 1, dependents=(after.id,), items_of="each")
        for n in range(2)
    ]
    over = Measured(id=over.id, key="before", kind="step", seconds=4, dependents=(after.id,))

    planned = critical_path([Measured(id=plan.id, key="plan", kind="plan", seconds=2, dependents=()), task, summary])
    mapped = critical_path([over, after, *items])

    assert ([each.key for each in planned.tasks], planned.length_s) == (["plan", "t1", "summary"], 6)
    assert ([each.key for each in mapped.tasks], mapped.length_s, mapped.work_s) == (
        ["before", "each[1]", "each"],
        6,
        7,
    )


def test_nothing_is_no_path_and_ten_thousand_in_a_chain_are_one() -> None:
    chain = {f"t{n}": (1.0, [f"t{n - 1}"] if n else []) for n in range(2)}
    ids = [new_id() for _ in range(10_000)]
    long = [
        Measured(id=ids[n], key=str(n), kind="step", seconds=1, dependents=tuple(ids[n + 1 : n + 2]))
        for n in range(10_000)
    ]

    assert (critical_path([]).tasks, critical_path([]).most_speed_up) == ((), None)
    assert critical_path(measured(**chain)).length_s == 2
    assert (len(critical_path(long).tasks), critical_path(long).most_speed_up) == (10_000, 1)
