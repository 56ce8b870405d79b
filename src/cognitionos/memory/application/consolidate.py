"""A finished goal leaves what it learned in its project's memory."""

from dataclasses import dataclass

from cognitionos.events.planning import RunFinished
from cognitionos.memory.application.ports import IsSimulated, Scope
from cognitionos.memory.application.remember import NewMemory, Remember, keep
from cognitionos.memory.domain.findings import findings_in, summary_of
from cognitionos.memory.domain.item import SIMULATED, MemoryKind, Source
from cognitionos.platform.bus import Delivery

FINDING_CONFIDENCE = 0.7
_SUCCEEDED = "succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consolidate:
    """The durable subscriber of finished runs."""

    remember: Remember
    is_simulated: IsSimulated

    async def handle(self, event: RunFinished, delivery: Delivery) -> None:
        """Remember a summary of the goal and its findings, once however often the fact is delivered.

        Goals that did not succeed, and those without a text, leave nothing; nor do runs that are no goal's: their
        results are data, often from outside, and no later planner is to take them for what is known.
        """
        scope = Scope(
            tenant_id=event.tenant_id,
            project_id=event.project_id,
            api_key_id=event.api_key_id,
            user=event.user,
            goal_id=event.goal_id,
            run_id=event.run_id,
        )
        tags = (SIMULATED,) if self.is_simulated() else ()
        items = [self.remember.item(scope, new) for new in _learned(event, tags)]
        embeddings = await self.remember.embedder.all(scope, [item.content for item in items])
        async with self.remember.begin(event.tenant_id) as work:
            await work.settle(delivery)
            for item, embedding in zip(items, embeddings, strict=True):
                await keep(work, item, embedding)


def _learned(event: RunFinished, tags: tuple[str, ...]) -> list[NewMemory]:
    result = (event.result_text or "").replace("\x00", "").strip()
    if event.goal_id is None or event.status != _SUCCEEDED or not result:
        return []
    source = Source(goal_id=event.goal_id, run_id=event.run_id, user=event.user)
    goal = event.statement or ""
    summary = NewMemory(content=summary_of(goal, result), kind=MemoryKind.SUMMARY, source=source, tags=tags)
    findings = [
        NewMemory(content=text, kind=MemoryKind.FACT, source=source, tags=tags, confidence=FINDING_CONFIDENCE)
        for text in findings_in(result)
    ]
    return [summary, *findings]
