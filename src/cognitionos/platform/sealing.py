"""Secrets at rest: sealed with a key derived from the installation's secret, and bound to what they belong to.

AES-256-GCM with a random nonce of 96 bits (NIST SP 800-38D); sealed = nonce + ciphertext + tag.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cognitionos.kernel.errors import Unavailable
from cognitionos.platform.config import Settings
from cognitionos.platform.crypto import purpose_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12


@dataclass(frozen=True, slots=True)
class SealingKey:
    """What seals, 32 bytes; what was sealed under the one `before` opens too, while there is one."""

    present: bytes
    before: bytes | None = None

    @classmethod
    def of(cls, settings: Settings, purpose: str) -> Self:
        """The installation's, for `purpose`."""
        present, before = settings.secret_key, settings.secret_key_before
        return cls(
            purpose_key(present.get_secret_value(), purpose),
            None if before is None else purpose_key(before.get_secret_value(), purpose),
        )


def seal(key: SealingKey, text: str, *, about: str) -> bytes:
    """`text`, unreadable without the `key`. `about` names what it belongs to: elsewhere it does not open."""
    nonce = os.urandom(_NONCE)
    return nonce + _cipher(key.present).encrypt(nonce, text.encode(), about.encode())


class SecretUnreadable(Unavailable):
    """A secret of yours was sealed under another `COGNITIONOS_SECRET_KEY` than this process has: set it again."""

    passes = False


def unseal(key: SealingKey, sealed: bytes, *, about: str, named: str) -> str:
    """What `seal` was given. Where key or `about` are others, or a bit has changed, raises `SecretUnreadable`, which
    calls it what it is `named`: what it is, and how to set it again.
    """
    from cryptography.exceptions import InvalidTag

    for each in (key.present, key.before):
        if each is not None:
            with suppress(InvalidTag):
                return _cipher(each).decrypt(sealed[:_NONCE], sealed[_NONCE:], about.encode()).decode()
    raise SecretUnreadable(
        f"What is kept of {named} cannot be read: it was sealed under another COGNITIONOS_SECRET_KEY. Set it again."
    )


def _cipher(key: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # here: most processes never seal anything

    return AESGCM(key)
