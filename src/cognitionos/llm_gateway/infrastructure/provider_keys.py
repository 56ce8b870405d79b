"""Keys of tenants' own providers: sealed before they are stored, kept from going to another address."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Literal

from cognitionos.kernel.errors import Invalid
from cognitionos.llm_gateway.application.ports import Answer, Chunk, Vectors
from cognitionos.llm_gateway.domain.chat import ChatRequest, Text
from cognitionos.llm_gateway.domain.errors import ProviderFailure
from cognitionos.llm_gateway.domain.route import own_home
from cognitionos.llm_gateway.infrastructure.own_models import ProviderRow
from cognitionos.platform.http_address import AllowedHosts
from cognitionos.platform.http_guard import check_base_url
from cognitionos.platform.sealing import SealingKey, SecretUnreadable, seal, unseal


class Keep(Enum):
    """Says that the key stays as it is."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


class KeyMissing(Invalid):
    """The address of a provider changed: its key has to be given again, lest it go where it was not meant for."""


def key_named(name: str) -> str:
    """A provider's key as its owner is told of it."""
    return f"the api_key of the provider '{name}' (PUT /v1/providers/{name})"


def opened_key(sealing_key: SealingKey, row: ProviderRow) -> str | None:
    """The key that is kept, if one is. Raises `SecretUnreadable`."""
    if row.sealed_key is None:
        return None
    return unseal(sealing_key, row.sealed_key, about=own_home(row.tenant_id, row.name), named=key_named(row.name))


class UnreadableProvider:
    """Stands where a tenant's provider would whose key cannot be read: whoever asks it is told `why`."""

    simulated = False

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self._why = why

    def check(self, request: ChatRequest) -> None:
        """Raise `ProviderFailure`."""
        raise self._failure()

    async def chat(self, request: ChatRequest, *, model: str) -> Answer:
        """Raise `ProviderFailure`."""
        raise self._failure()

    def stream(self, request: ChatRequest, *, model: str) -> AsyncGenerator[Chunk, None]:
        """Raise `ProviderFailure`."""
        raise self._failure()

    async def embed(self, texts: Sequence[Text], *, model: str, extra: Mapping[str, Any]) -> Vectors:
        """Raise `ProviderFailure`."""
        raise self._failure()

    async def models(self) -> Sequence[str]:
        """Raise `ProviderFailure`."""
        raise self._failure()

    def _failure(self) -> ProviderFailure:
        return ProviderFailure(self._why, again=False, why="key-refused", broken=False)


class ProviderKeys:
    """Seals keys, and knows which addresses providers may have."""

    def __init__(self, sealing_key: SealingKey, allowed: AllowedHosts) -> None:
        self.sealing_key = sealing_key
        self.allowed = allowed

    def can_read(self, row: ProviderRow) -> bool:
        """Whether the key that is kept opens, if one is."""
        try:
            opened_key(self.sealing_key, row)
        except SecretUnreadable:
            return False
        return True

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
