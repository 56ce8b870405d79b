"""Runs and steps: which states follow which, and what is counted."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.unit.planning.builders import NOON, a_claimed_task, a_run

from cognitionos.kernel.ids import new_id
from cognitionos.planning.domain.progress import Progress
from cognitionos.planning.domain.run import RunAlreadyFinished, RunStatus
from cognitionos.planning.domain.step import Ended, Reported, Started, Step, text_of
from cognitionos.planning.domain.task import Expansion, Failed, Problem, Retrying, Succeeded, TaskSpec

WRONG = Problem(type="/problems/wrong", title="Wrong", detail="it went wrong")


def a_step(**changes: Any) -> Step:
    return Step(run=a_run(**changes), now=NOON, new_id=new_id)


def test_the_first_entry_starts_the_run_and_the_last_task_completes_it() -> None:
    step, task = a_step(total_tasks=1, open_tasks=1), a_claimed_task("t1")

    step.take(Started(task=task))
    step.take(Reported(task=task, kind="agent.step", data={}))
    step.take(Ended(task=task, outcome=Succeeded(output={"text": "done"})))

    assert step.is_complete
    step.complete({"text": "done"})
    assert [event.kind for event in step.events] == [
        "run.started",
        "task.started",
        "agent.step",
        "task.succeeded",
        "run.succeeded",
    ]
    assert (step.run.status, step.run.result_text) == (RunStatus.SUCCEEDED, "done")


def test_a_failure_ends_the_run_and_what_comes_after_it_does_not_count() -> None:
    step = a_step(total_tasks=2, open_tasks=2)

    step.take(Ended(task=a_claimed_task("t1"), outcome=Failed(problem=WRONG)))
    step.take(Ended(task=a_claimed_task("t2"), outcome=Succeeded(output=None)))

    assert (step.run.status, step.run.error) == (RunStatus.FAILED, WRONG.as_json())
    assert step.succeeded == []
    assert step.events[-1].kind == "run.failed"


def test_a_retry_changes_no_count() -> None:
    step = a_step(total_tasks=1, open_tasks=1)

    step.take(Ended(task=a_claimed_task("t1"), outcome=Retrying(problem=WRONG, after_s=1)))

    assert (step.run.open_tasks, step.is_complete, len(step.retrying)) == (1, False, 1)


def test_an_expansion_keeps_the_run_open_and_names_the_result() -> None:
    step = a_step(total_tasks=1, open_tasks=1)
    tasks = (TaskSpec(key="t1", kind="agent"), TaskSpec(key="summary", kind="agent", depends_on=("t1",)))

    expansion = Expansion(tasks=tasks, result_key="summary")
    step.take(Ended(task=a_claimed_task("plan"), outcome=Succeeded(output=None, expansion=expansion)))

    assert (step.run.total_tasks, step.run.open_tasks) == (3, 2)
    assert step.run.result_task_id == step.new_tasks[-1].id
    assert [task.position for task in step.new_tasks] == [1, 2]
    assert step.events[-1].data["tasks"][1]["depends_on"] == ["t1"]


def test_pure_tasks_on_the_way_are_counted() -> None:
    step = a_step(total_tasks=1, open_tasks=1)

    step.follow(Progress())

    assert step.run.open_tasks == 1


@pytest.mark.parametrize(
    ("output", "text"), [("a", "a"), ({"text": "b"}, "b"), ({"text": 1}, None), ([1], None), (None, None)]
)
def test_the_text_of_an_output(output: Any, text: str | None) -> None:
    assert text_of(output) == text


class RunLife(RuleBasedStateMachine):
    """Whatever is asked of a run in whatever order: once ended, it stays as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.run = a_run()
        self.final: tuple[RunStatus, datetime | None] | None = None

    @rule()
    def start(self) -> None:
        self.run.start(datetime.now(UTC))

    @precondition(lambda self: self.final is None)
    @rule()
    def grow_and_end(self) -> None:
        self.run.grow(2)
        self.run.end_tasks(2)

    @rule()
    def fail(self) -> None:
        self._final(lambda: self.run.fail(WRONG, datetime.now(UTC)))

    @rule()
    def cancel(self) -> None:
        self._final(lambda: self.run.cancel(datetime.now(UTC)))

    @rule()
    def succeed(self) -> None:
        self._final(lambda: self.run.succeed(None, datetime.now(UTC)))

    @invariant()
    def what_ended_stays(self) -> None:
        if self.final is not None:
            assert (self.run.status, self.run.finished_at) == self.final
        assert self.run.open_tasks >= 0

    def _final(self, change: Any) -> None:
        if self.final is not None:
            with pytest.raises(RunAlreadyFinished):
                change()
            return
        change()
        assert self.run.status.is_final
        self.final = (self.run.status, self.run.finished_at)


TestRunLife = RunLife.TestCase
