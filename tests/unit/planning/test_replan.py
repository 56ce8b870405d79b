"""Planning again: whatever is planned and wherever it fails, what is done stays done and what waits gets its input."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.planning_store import InMemoryTaskStore
from tests.unit.planning.builders import a_claimed_task, a_run

import cognitionos
from cognitionos.kernel.ids import new_id
from cognitionos.planning.domain.plan import (
    ANEW,
    MOST_ANEW,
    MOST_TASKS,
    InvalidPlan,
    Plan,
    PlannedTask,
    Terms,
    plan_of,
    plan_schema,
)
from cognitionos.planning.domain.replan import DEEPEST, REPLAN, REPLANS, may_replan
from cognitionos.planning.domain.run import Run, RunStatus
from cognitionos.planning.domain.step import Ended
from cognitionos.planning.domain.task import (
    ClaimedTask,
    Failed,
    Graft,
    Outcome,
    Problem,
    Succeeded,
    TaskStatus,
    in_order,
)
from cognitionos.planning.domain.team import LONGEST_LINE, MOST_OFFERED, Worker, offered
from cognitionos.planning.infrastructure.plan_history import MOST_FINISHED

BROKEN = Problem(type="/problems/agent-failed", title="Agent failed", detail="no")
BYTES_PER_TOKEN = 3
"""Rather too few: cl100k takes 3.3 for these texts."""


@st.composite
def plans(draw: st.DrawFn, *, prefix: str = "t", most: int = 5) -> Plan:
    keys = [f"{prefix}{number}" for number in range(1, draw(st.integers(1, most)) + 1)]
    return Plan(
        tasks=tuple(
            PlannedTask(
                key=key,
                title=key,
                instructions=key,
                expected_output=None,
                review=False,
                depends_on=tuple(draw(st.sets(st.sampled_from(keys[:index])) if index else st.just(()))),
            )
            for index, key in enumerate(keys)
        )
    )


class Play:
    """A run of a plan whose tasks end as `choose` says; each start sees whether its inputs were there."""

    def __init__(self, first: Plan, *, replans: int, data: st.DataObject) -> None:
        self.store, self.data = InMemoryTaskStore(), data
        self.terms, self.first = Terms(replans=replans), first
        self.run: Run = a_run()
        self.failed: list[str] = []
        self.done: list[str] = []

    async def whole(self) -> Run:
        expansion = self.first.expansion(self.terms)
        graph = in_order(expansion.tasks, first_position=0, new_id=new_id)
        self.run.grow(len(graph))
        self.run.result_task_id = next(each.id for each in graph if each.spec.key == expansion.result_key)
        self.store.add(self.run, graph)
        while claimed := (await self.store.claim(worker="w", slots=100, lease_s=10)).tasks:
            for task in self.data.draw(st.permutations(claimed)):
                ended = Ended(task=task, outcome=await self.outcome(task))
                await self.store.record(self.run.tenant_id, "w", [ended])
        return self.run

    async def outcome(self, task: ClaimedTask) -> Outcome:
        if REPLAN in task.spec:
            history = await self.store.history(task)
            plan = self.data.draw(plans(prefix=ANEW, most=3))
            return Succeeded(output=plan.as_json(), expansion=plan.expansion(self.terms, graft=history.graft))
        if self.data.draw(st.integers(0, 3)) == 0:
            self.failed.append(task.key)
            return Failed(problem=BROKEN)
        self.done.append(task.key)
        return Succeeded(output=task.key)


@settings(max_examples=150, deadline=None)
@given(first=plans(), replans=st.integers(0, 4), data=st.data())
def test_a_run_that_is_planned_again_ends_and_does_nothing_twice(
    first: Plan, replans: int, data: st.DataObject
) -> None:
    play = Play(first, replans=replans, data=data)

    run = asyncio.run(play.whole())

    statuses = play.store.statuses(run)
    assert run.status is (RunStatus.FAILED if len(play.failed) > replans else RunStatus.SUCCEEDED)
    assert len(play.done) == len(set(play.done))
    assert sum(1 for key in statuses if key.endswith(".plan")) == min(len(play.failed), replans)
    if run.status is RunStatus.SUCCEEDED:
        assert {key for key, status in statuses.items() if status is not TaskStatus.SUCCEEDED} == set(play.failed)
        assert run.open_tasks == 0
        assert run.result_task_id is not None


@given(plans(prefix="n"))
def test_a_graft_reaches_from_what_is_done_to_what_waits(plan: Plan) -> None:
    graft = Graft(replaces=new_id(), key="t2", inherits=("t1",), feeds=(new_id(),), finished={"t1": new_id()})

    expansion = plan.expansion(graft=graft)

    by_key = {spec.key: spec for spec in expansion.tasks}
    assert all(key.startswith("t2.") for key in by_key)
    assert all(spec.depends_on for spec in by_key.values())
    assert {"t1"} == {key for spec in by_key.values() for key in spec.depends_on} - by_key.keys()


def a_task(**changes: Any) -> ClaimedTask:
    return a_claimed_task("t1", **{"spec": {REPLANS: 1}, **changes})


def test_only_planned_tasks_are_planned_again_and_only_so_often() -> None:
    assert may_replan(a_task(), BROKEN, used=0)
    assert not may_replan(a_task(), BROKEN, used=1)
    assert not may_replan(a_task(spec={}), BROKEN, used=0)


@pytest.mark.parametrize("slug", ["budget-exhausted", "approval-rejected", "provider-unavailable", "internal-error"])
def test_what_no_plan_helps_against_is_not_planned_again(slug: str) -> None:
    assert not may_replan(a_task(), replace(BROKEN, type=f"/problems/{slug}"), used=0)


def test_replacements_of_replacements_end_at_a_depth() -> None:
    spec = {REPLANS: 150}

    assert may_replan(a_claimed_task(".".join(["t1"] + ["n1"] * (DEEPEST - 1)), spec=spec), BROKEN, used=0)
    assert not may_replan(a_claimed_task(".".join(["t1"] + ["n1"] * DEEPEST), spec=spec), BROKEN, used=0)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=12))
def test_shares_add_up_to_the_whole_budget(shares: list[int]) -> None:
    answer = {f"t{n}": {"instructions": "x", "budget_share": share} for n, share in enumerate(shares, 1)}

    made = [task.budget_share or 0 for task in plan_of(answer).tasks]

    assert sum(made) == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize("share", [None, 0, "0 %", ""])
def test_a_plan_with_a_share_that_is_none_limits_no_task(share: Any) -> None:
    answer = {"t1": {"instructions": "x", "budget_share": 50}, "t2": {"instructions": "x", "budget_share": share}}

    assert [task.budget_share for task in plan_of(answer).tasks] == [None, None]


def test_a_task_without_a_capability_is_the_executors_and_research_goes_to_the_researcher() -> None:
    said = ("research", None, "", " Researcher ", "executor")
    answer = {f"t{n}": {"instructions": "x", "capability": each} for n, each in enumerate(said, 1)}

    roles = [spec.spec["role"] for spec in plan_of(answer).expansion().tasks]

    assert roles == ["researcher", "executor", "executor", "researcher", "executor", "summarizer"]


def test_a_capability_that_nobody_has_is_a_fault_that_names_those_there_are() -> None:
    team = [Worker(name="poet", version=3, description="Writes poems.")]

    with pytest.raises(InvalidPlan) as refused:
        plan_of({"t1": {"instructions": "x", "capability": "magic"}}, team=team)

    assert refused.value.fields == {"t1.capability": "must be one of general, research, poet"}


def test_an_agent_of_the_tenant_s_own_does_its_task_in_the_version_that_was_offered() -> None:
    team = [Worker(name="poet", version=3, description="x"), Worker(name="general", version=1, description="ours")]
    answer = {f"t{n}": {"instructions": "x", "capability": each} for n, each in enumerate(("poet", "general"), 1)}

    plan = plan_of(answer, team=team)

    told = [(spec.spec["role"], spec.spec.get("versions")) for spec in plan.expansion().tasks]
    assert told == [("poet", {"poet": 3}), ("general", {"general": 1}), ("summarizer", None)]
    assert Plan.stored(json.loads(json.dumps(plan.as_json()))) == plan


def test_those_agents_are_offered_that_share_most_words_with_the_goal() -> None:
    workers = [Worker(name=f"agent{n}", version=1, description="does things") for n in range(10)]
    poet = Worker(name="zoe", version=1, description="Writes  poems\nabout the sea." + " x" * 200)

    team = offered([*workers, poet], "I want poems about mountains")

    assert [each.name for each in team] == ["agent0", "agent1", "agent2", "agent3", "agent4", "zoe"]
    assert all(len(each.line) <= LONGEST_LINE and "\n" not in each.line for each in team)


def test_a_plan_is_the_same_after_being_stored() -> None:
    plan = plan_of({"t1": {"instructions": "x", "budget_share": 3}, "t2": {"instructions": "y", "depends_on": ["t1"]}})

    assert Plan.stored(json.loads(json.dumps(plan.as_json()))) == plan


def test_prompt_and_schema_leave_a_small_model_room_to_answer() -> None:
    prompt = Path(cognitionos.__file__).parent.joinpath("agents/application/prompts/planner.v1.md").read_text("utf-8")
    finished = [f"t{number}.n{number}" for number in range(1, MOST_FINISHED + 1)]

    team = [Worker(name=f"agent-of-some-{n}", version=n, description="x" * 500) for n in range(MOST_OFFERED)]
    lines = sum(len(each.line) for each in team)

    first = len(prompt) + len(json.dumps(plan_schema(MOST_TASKS)))
    with_team = len(prompt) + lines + len(json.dumps(plan_schema(MOST_TASKS, team=team)))
    anew = len(prompt) + len(json.dumps(plan_schema(MOST_ANEW, prefix=ANEW, finished=finished)))

    assert first / BYTES_PER_TOKEN <= 2_600  # of the 4,096 that a 1.5B model is often given
    assert with_team / BYTES_PER_TOKEN <= 2_850
    assert anew / BYTES_PER_TOKEN <= 2_200
