"""What follows a verdict on an agent's, a planner's or a tool's work: an attempt with a new journal, as after a retry.

So does a tool that did not answer: its journal says that it did not.
What is no verdict (a provider that is away, a time-out, a stall, a dead worker) leaves the journal to go on from.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cognitionos.agents.facade import AgentFailed, EarlierFileGone, ToolUnavailable
from cognitionos.planning.application.ports import Handler, Report
from cognitionos.planning.application.run_control import SetAside
from cognitionos.planning.domain.plan import InvalidPlan
from cognitionos.planning.domain.task import ClaimedTask, Outcome

VERDICTS = (AgentFailed, InvalidPlan)


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunAnew:
    """A handler whose tasks have journals. `forget` what people decided: each of that was for one call."""

    handler: Handler
    forget: Callable[[ClaimedTask], Awaitable[None]]
    set_aside: SetAside

    async def __call__(self, task: ClaimedTask, report: Report) -> Outcome:
        """As the handler. A worker that dies in here at worst gives the task an attempt more."""
        try:
            return await self.handler(task, report)
        except (*VERDICTS, ToolUnavailable) as verdict:
            if task.retry.wait_s(verdict, failures=task.failures + 1, jitter=0.0) is not None:
                if not isinstance(verdict, ToolUnavailable):  # the call that was approved has not been made
                    await self.forget(task)
                await self._set_aside(task, verdict)
            raise

    async def _set_aside(self, task: ClaimedTask, verdict: AgentFailed | InvalidPlan | ToolUnavailable) -> None:
        """Raises `EarlierFileGone`, which says what it was that failed."""
        try:
            await self.set_aside(task.tenant_id, task.run_id, [(task.id, task.fence)])
        except EarlierFileGone as gone:
            raise EarlierFileGone(f"{verdict.detail} It is not begun anew: {gone.detail}") from verdict
