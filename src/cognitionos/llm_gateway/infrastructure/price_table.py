"""The public price table that ships with litellm, read as the JSON file it is, without importing litellm."""

from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from cognitionos.llm_gateway.domain.price import Price
from cognitionos.llm_gateway.domain.price_table import price_from_table
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)
_FILE = "model_prices_and_context_window_backup.json"
_KEPT = (
    *("input_cost", "output_cost", "cache_", "search_context_cost", "citation_cost", "tiered_pricing"),
    *("max_", "mode", "provider_specific_entry", "litellm_provider"),
)


class PriceTable:
    """Prices by litellm's model names. Read by `load` or at the first question, in some 20 ms."""

    def price(self, name: str) -> Price | None:
        """The price of `name` (`gpt-4o`, `anthropic/claude-...`); None where the table has none."""
        known = self._prices
        if name not in known:
            entry = self._entries.get(name)
            known[name] = price_from_table(entry, name=name) if entry is not None else None
        return known[name]

    def longest_answer(self, name: str) -> int | None:
        """The most tokens that `name` answers with; None where nobody knows."""
        price = self.price(name)
        return price.max_output_tokens if price else None

    def load(self) -> None:
        """Read the file now."""
        _ = self._entries

    @cached_property
    def _entries(self) -> dict[str, dict[str, Any]]:
        spec = find_spec("litellm")
        if spec is None or spec.origin is None:
            log.warning("price_table_missing", remedy="install litellm, or set prices with PUT /v1/prices/{model}")
            return {}
        table = msgspec.json.decode((Path(spec.origin).parent / _FILE).read_bytes(), type=dict[str, dict[str, Any]])
        table.pop("sample_spec", None)
        return {
            name: {field: value for field, value in entry.items() if field.startswith(_KEPT)}
            for name, entry in table.items()
            if "input_cost_per_token" in entry or "tiered_pricing" in entry
        }

    @cached_property
    def _prices(self) -> dict[str, Price | None]:
        return {}
