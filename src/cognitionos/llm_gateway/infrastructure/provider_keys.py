"""Keys of tenants' own providers: sealed before they are stored, kept from going to another address."""

from enum import Enum
from typing import Final, Literal

from cognitionos.kernel.errors import Invalid
from cognitionos.llm_gateway.infrastructure.own_models import ProviderRow
from cognitionos.platform.http_address import AllowedHosts
from cognitionos.platform.http_guard import check_base_url
from cognitionos.platform.sealing import seal


class Keep(Enum):
    """Says that the key stays as it is."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


class KeyMissing(Invalid):
    """The address of a provider changed: its key has to be given again, lest it go where it was not meant for."""


class ProviderKeys:
    """Seals keys, and knows which addresses providers may have."""

    def __init__(self, sealing_key: bytes, allowed: AllowedHosts) -> None:
        self.sealing_key = sealing_key
        self.allowed = allowed

    async def sealed(
        self, home: str, *, given: str | Literal[Keep.KEEP] | None, base_url: str, before: ProviderRow | None
    ) -> bytes | None:
        """What to store for the provider `home`: of the key given, or of the one there was.

        Raises `BadUrl`, `DestinationRefused`, `KeyMissing`.
        """
        await check_base_url(base_url, self.allowed)
        if given is None:
            return None
        if given is not KEEP:
            return seal(self.sealing_key, given, about=home)
        if before is None or before.sealed_key is None:
            return None
        if before.base_url != base_url:
            raise KeyMissing(
                "The address changed: send 'api_key' again, or null to go without.", fields={"api_key": "required"}
            )
        return before.sealed_key
