"""What a call costs here: the tenant's own price, else the provider's, else the public table's.

A server that is asked without a key is free where none of them knows; of any other the price is then unknown.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from decimal import Decimal
from uuid import UUID

from psycopg.rows import class_row

from cognitionos.llm_gateway.domain.price import FREE, Price, price_per_million
from cognitionos.llm_gateway.domain.route import Candidate
from cognitionos.llm_gateway.infrastructure.price_table import PriceTable
from cognitionos.platform.database import Database
from cognitionos.platform.signals import Signals

CHANNEL = "llm_prices"
FRESH_S = 10.0
"""How long a process may go on with a price that another changed while Redis was gone."""
MOST_TENANTS = 10_000
_KNOWN_BARE = frozenset({"openai", "anthropic"})

_LATEST = """
SELECT DISTINCT ON (model) model, version, input_usd_per_million, output_usd_per_million, cached_input_usd_per_million,
  cache_write_usd_per_million, reasoning_usd_per_million, max_input_tokens, max_output_tokens
FROM model_prices ORDER BY model, version DESC
"""
_PUT = """
INSERT INTO model_prices (tenant_id, model, version, input_usd_per_million, output_usd_per_million,
  cached_input_usd_per_million, cache_write_usd_per_million, reasoning_usd_per_million,
  max_input_tokens, max_output_tokens)
SELECT %(tenant_id)s, %(model)s, COALESCE(max(version), 0) + 1, %(input)s, %(output)s, %(cached)s, %(written)s,
  %(reasoning)s, %(max_input)s, %(max_output)s
FROM model_prices WHERE model = %(model)s
RETURNING version
"""


class PriceRow:
    """One operator's price as stored."""

    def __init__(
        self,
        *,
        model: str,
        version: int,
        input_usd_per_million: Decimal,
        output_usd_per_million: Decimal,
        cached_input_usd_per_million: Decimal | None = None,
        cache_write_usd_per_million: Decimal | None = None,
        reasoning_usd_per_million: Decimal | None = None,
        max_input_tokens: int | None = None,
        max_output_tokens: int | None = None,
    ) -> None:
        self.model = model
        self.version = version
        self.price = price_per_million(
            input_usd=input_usd_per_million,
            output_usd=output_usd_per_million,
            cached_usd=cached_input_usd_per_million,
            cache_write_usd=cache_write_usd_per_million,
            reasoning_usd=reasoning_usd_per_million,
            max_input_tokens=max_input_tokens,
            max_output_tokens=max_output_tokens,
        )


class PriceBook:
    """Prices by tenant and model. A tenant's own are read once and again when one changes, in every process."""

    def __init__(
        self,
        database: Database,
        signals: Signals,
        *,
        table: PriceTable,
        stated: Callable[[Candidate], Price | None],
        keyless: Callable[[str], bool],
    ) -> None:
        self._database = database
        self._signals = signals
        self._table = table
        self._stated = stated
        self._keyless = keyless
        self._own: dict[UUID, tuple[float, Mapping[str, Price]]] = {}
        self._listening = ExitStack()
        self._changed = self._listening.enter_context(signals.listen(CHANNEL))

    async def open(self) -> None:
        """Read the public table now, in a thread, so that no call waits for it."""
        await asyncio.to_thread(self._table.load)

    async def close(self) -> None:
        """Stop listening."""
        self._listening.close()

    async def price(self, tenant_id: UUID, candidate: Candidate) -> Price | None:
        """What `candidate` costs this tenant; None: nobody knows."""
        own = await self._of_tenant(tenant_id)
        return (
            own.get(candidate.name)
            or own.get(candidate.model)
            or self._stated(candidate)
            or self.table_price(candidate)
            or (FREE if self._keyless(candidate.home) else None)
        )

    def table_price(self, candidate: Candidate) -> Price | None:
        """The public price; a bare model name counts only where it surely means its vendor's model."""
        listed = self._table.price(candidate.name)
        if listed is None and (candidate.provider in _KNOWN_BARE or self._keyless(candidate.home)):
            listed = self._table.price(candidate.model)
        return listed

    async def put(self, tenant_id: UUID, model: str, values: Mapping[str, object]) -> int:
        """Set the tenant's own price of `model` (`provider/model` or bare) from now on; gives its version."""
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('model_prices'))")
            row = await (await connection.execute(_PUT, {**values, "tenant_id": tenant_id, "model": model})).fetchone()
        await self._signals.send(CHANNEL)
        return int(row[0]) if row else 0

    async def own(self, tenant_id: UUID) -> list[PriceRow]:
        """The tenant's own prices, latest versions."""
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=class_row(PriceRow))
            return await (await cursor.execute(_LATEST)).fetchall()

    async def _of_tenant(self, tenant_id: UUID) -> Mapping[str, Price]:
        if self._changed.is_set():
            self._changed.clear()
            self._own.clear()
        known = self._own.get(tenant_id)
        now = time.monotonic()
        if known is not None and now - known[0] < FRESH_S:
            return known[1]
        prices = {row.model: row.price for row in await self.own(tenant_id)}
        if len(self._own) >= MOST_TENANTS:
            self._own.clear()
        self._own[tenant_id] = (now, prices)
        return prices
