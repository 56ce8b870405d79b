"""Gives memories that were stored while no embedder answered their embedding later."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from cognitionos.kernel.errors import DomainError, Unavailable
from cognitionos.memory.application.embedding import Embedder
from cognitionos.memory.application.ports import Begin, PickUnembedded, Scope, Unembedded
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)
BATCH = 32
EVERY_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingBackfill:
    """The worker's loop that embeds what is still without an embedding, of every tenant."""

    pick: PickUnembedded
    begin: Begin
    embedder: Embedder
    every_s: float = EVERY_S

    async def run(self) -> None:
        """Fill until cancelled; whatever is not to be had now is tried again later."""
        while True:
            try:
                while await self.fill() == BATCH:
                    pass
            except Unavailable as error:
                log.warning("embedding_backfill_failed", reason=error.detail)
            await asyncio.sleep(self.every_s)

    async def fill(self) -> int:
        """Embed one batch; gives how many got their embedding."""
        by_project: defaultdict[tuple[UUID, UUID], list[Unembedded]] = defaultdict(list)
        for each in await self.pick(BATCH):
            by_project[(each.tenant_id, each.project_id)].append(each)
        return sum([await self._fill_project(*key, waiting) for key, waiting in by_project.items()])

    async def _fill_project(self, tenant_id: UUID, project_id: UUID, waiting: list[Unembedded]) -> int:
        scope = Scope(tenant_id=tenant_id, project_id=project_id)
        try:
            embeddings = await self.embedder.require(scope, [each.content for each in waiting])
        except DomainError as error:
            log.warning("embedding_unavailable", texts=len(waiting), reason=error.detail)
            return 0
        async with self.begin(tenant_id) as work:
            for each, embedding in zip(waiting, embeddings, strict=True):
                await work.memories.set_embedding(each.id, embedding)
        log.info("embeddings_filled", memories=len(waiting))
        return len(waiting)
