"""What a call costs here: the tenant's own price, else the provider's, else the public table's.

A server that is asked without a key, or is `OPENAI_BASE_URL`'s at an address that is not public, is free where none of
them knows; of any other the price is then unknown.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cognitionos.kernel.errors import Unavailable
from cognitionos.llm_gateway.domain.price import FREE, Price
from cognitionos.llm_gateway.domain.price_sheet import price_of_sheet
from cognitionos.llm_gateway.domain.route import Candidate
from cognitionos.llm_gateway.infrastructure.price_table import PriceTable
from cognitionos.platform.database import Database
from cognitionos.platform.once import Once
from cognitionos.platform.signals import Signals

CHANNEL = "llm_prices"
FRESH_S = 10.0
"""How old a tenant's prices get where signals are heard; while none are, a second."""
MOST_TENANTS = 10_000
_KNOWN_BARE = frozenset({"openai", "anthropic"})

_COLUMNS = (
    "input_usd_per_million",
    "output_usd_per_million",
    "cached_input_usd_per_million",
    "cache_write_usd_per_million",
    "reasoning_usd_per_million",
    "max_input_tokens",
    "max_output_tokens",
)
"""What of a sheet stands in columns; `detail` holds the rest."""
_LIST = ", ".join(_COLUMNS)
_VALUES = ", ".join(f"%({name})s" for name in _COLUMNS)
_LATEST = f"""
SELECT DISTINCT ON (model) model, version, set_at, detail, {_LIST} FROM model_prices
WHERE model > %(after)s ORDER BY model, version DESC LIMIT %(limit)s
"""  # noqa: S608 - the columns above
_HISTORY = f"""
SELECT model, version, set_at, detail, {_LIST} FROM model_prices
WHERE model = %(model)s AND version < %(before)s ORDER BY version DESC LIMIT %(limit)s
"""  # noqa: S608 - the columns above
_PUT = f"""
INSERT INTO model_prices (tenant_id, model, version, detail, {_LIST})
SELECT %(tenant_id)s, %(model)s, COALESCE(max(version), 0) + 1, %(detail)s, {_VALUES}
FROM model_prices WHERE model = %(model)s
RETURNING version, set_at
"""  # noqa: S608 - the columns above
_LAST_VERSION = 2**31 - 1
Source = Literal["own", "provider", "public", "free", "unknown"]
"""Who says what a model costs: the tenant, the file of providers, litellm's table, or nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """One version of a tenant's own price. `sheet` is as `domain/price_sheet.py` says."""

    model: str
    version: int
    set_at: datetime
    sheet: Mapping[str, Any]

    @property
    def price(self) -> Price:
        """The price it tells."""
        return price_of_sheet(self.sheet)


class PriceBook:
    """Prices by tenant and model. A tenant's own are read once and again when one changes, in every process."""

    def __init__(
        self,
        database: Database,
        signals: Signals,
        *,
        table: PriceTable,
        stated: Callable[[Candidate], Price | None],
        unmetered: Callable[[str], bool],
    ) -> None:
        self._database = database
        self._signals = signals
        self._table = table
        self._stated = stated
        self._unmetered = unmetered
        self._own: dict[UUID, tuple[float, Mapping[str, Price]]] = {}
        self._loads: Once[UUID, Mapping[str, Price]] = Once()
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
        return own.get(candidate.name) or own.get(candidate.model) or self._of_others(candidate)[1]

    async def told(self, tenant_id: UUID, candidate: Candidate) -> tuple[Source, Price | None]:
        """What `candidate` costs this tenant, and who says so."""
        own = await self._of_tenant(tenant_id)
        price = own.get(candidate.name) or own.get(candidate.model)
        return self._of_others(candidate) if price is None else ("own", price)

    def _of_others(self, candidate: Candidate) -> tuple[Source, Price | None]:
        if (price := self._stated(candidate)) is not None:
            return "provider", price
        if (price := self.table_price(candidate)) is not None:
            return "public", price
        return ("free", FREE) if self._unmetered(candidate.home) else ("unknown", None)

    def table_price(self, candidate: Candidate) -> Price | None:
        """The public price; a bare model name counts only where it surely means its vendor's model."""
        listed = self._table.price(candidate.name)
        if listed is None and (candidate.provider in _KNOWN_BARE or self._unmetered(candidate.home)):
            listed = self._table.price(candidate.model)
        return listed

    async def put(self, tenant_id: UUID, model: str, sheet: Mapping[str, Any]) -> PriceRow:
        """Set the tenant's own price of `model` (`provider/model` or bare) from now on."""
        columns = {name: sheet.get(name) for name in _COLUMNS}
        detail = {name: value for name, value in sheet.items() if name not in _COLUMNS and value}
        values = {**columns, "tenant_id": tenant_id, "model": model, "detail": Jsonb(detail)}
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('model_prices'))")
            row = await (await connection.execute(_PUT.encode(), values)).fetchone()
        await self._signals.send(CHANNEL)
        if row is None:
            raise Unavailable("the price was not stored")
        return PriceRow(model=model, version=row[0], set_at=row[1], sheet=columns | detail)

    async def own(self, tenant_id: UUID, *, after: str = "", limit: int | None = None) -> list[PriceRow]:
        """The tenant's own prices, latest versions, by model; those after a model."""
        return await self._rows(tenant_id, _LATEST, {"after": after, "limit": limit})

    async def history(
        self, tenant_id: UUID, model: str, *, before: int = _LAST_VERSION, limit: int | None = None
    ) -> list[PriceRow]:
        """Every version of the tenant's own price of one model, newest first; those before a version."""
        return await self._rows(tenant_id, _HISTORY, {"model": model, "before": before, "limit": limit})

    async def _rows(self, tenant_id: UUID, query: str, values: Mapping[str, Any]) -> list[PriceRow]:
        async with self._database.transaction(tenant_id) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            rows = await (await cursor.execute(query.encode(), values)).fetchall()
        return [
            PriceRow(
                model=row["model"],
                version=row["version"],
                set_at=row["set_at"],
                sheet={name: row[name] for name in _COLUMNS} | row["detail"],
            )
            for row in rows
        ]

    async def _of_tenant(self, tenant_id: UUID) -> Mapping[str, Price]:
        if self._changed.is_set():
            self._changed.clear()
            self._own.clear()
            self._loads.forget()
        known = self._own.get(tenant_id)
        if known is not None and time.monotonic() - known[0] < self._signals.look_again_s(FRESH_S):
            return known[1]
        return await self._loads(tenant_id, lambda: self._read_of_tenant(tenant_id))

    async def _read_of_tenant(self, tenant_id: UUID) -> Mapping[str, Price]:
        now = time.monotonic()
        prices = {row.model: row.price for row in await self.own(tenant_id)}
        if len(self._own) >= MOST_TENANTS:
            self._own.clear()
        self._own[tenant_id] = (now, prices)
        return prices
