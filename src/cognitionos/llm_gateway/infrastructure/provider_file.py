"""The operator's own list of providers: a JSON file of OpenAI-compatible servers and of vendors behind litellm."""

from decimal import Decimal
from pathlib import Path
from typing import Literal

import msgspec

from cognitionos.llm_gateway.domain.price import FREE, Price, price_per_million
from cognitionos.llm_gateway.infrastructure.openai_provider import LimitField

Flag = Literal["recover_tool_calls"]


class FilePrice(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Dollars per million tokens."""

    input_usd_per_million: Decimal
    output_usd_per_million: Decimal
    cached_input_usd_per_million: Decimal | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None


class FileProvider(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One provider. `api_key_env` names the variable that holds its key; without one it is asked without a key.

    `vendor` sends it through litellm under that vendor's name. `price` is for all its models; `free` says that it costs
    nothing; with neither, a keyless server is free and any other is priced by the public table. `limit_field` is
    the name under which a server takes the completion limit; without it the host tells.
    """

    name: str
    base_url: str | None = None
    vendor: str | None = None
    api_key_env: str | None = None
    models: list[str] = []
    price: FilePrice | None = None
    free: bool = False
    flags: list[Flag] = []
    limit_field: LimitField | None = None

    @property
    def own_price(self) -> Price | None:
        """The price that the file states, if any."""
        if self.free:
            return FREE
        if self.price is None:
            return None
        return price_per_million(
            input_usd=self.price.input_usd_per_million,
            output_usd=self.price.output_usd_per_million,
            cached_usd=self.price.cached_input_usd_per_million,
            max_input_tokens=self.price.max_input_tokens,
            max_output_tokens=self.price.max_output_tokens,
        )


def read_providers(path: Path) -> list[FileProvider]:
    """The providers in the file at `path`; raises `ValueError` naming the file and the place that is wrong."""
    try:
        providers = msgspec.json.decode(path.read_bytes(), type=list[FileProvider])
    except (OSError, msgspec.DecodeError) as error:
        raise ValueError(f"COGNITIONOS_PROVIDERS_FILE={path}: {error}") from error
    for provider in providers:
        if provider.vendor is not None and provider.limit_field is not None:
            raise ValueError(f"{path}: '{provider.name}' has a vendor, whose limit_field is known")
        if "/" in provider.name or (provider.base_url is None) == (provider.vendor is None):
            raise ValueError(f"{path}: '{provider.name}' needs a name without '/' and either base_url or vendor")
    return providers
