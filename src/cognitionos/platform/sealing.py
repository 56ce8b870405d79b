"""Secrets at rest: sealed with a key derived from the installation's secret, and bound to what they belong to.

AES-256-GCM with a random nonce of 96 bits (NIST SP 800-38D); sealed = nonce + ciphertext + tag.
"""

import os
from typing import TYPE_CHECKING

from cognitionos.kernel.errors import Unavailable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12


def seal(key: bytes, text: str, *, about: str) -> bytes:
    """`text`, unreadable without the 32-byte `key`. `about` names what it belongs to: elsewhere it does not open."""
    nonce = os.urandom(_NONCE)
    return nonce + _cipher(key).encrypt(nonce, text.encode(), about.encode())


class SecretUnreadable(Unavailable):
    """A secret of yours was sealed under another `COGNITIONOS_SECRET_KEY` than this process has: set it again."""

    passes = False


def unseal(key: bytes, sealed: bytes, *, about: str, named: str) -> str:
    """What `seal` was given. Where key or `about` are others, or a bit has changed, raises `SecretUnreadable`, which
    calls it what it is `named`: what it is, and how to set it again.
    """
    from cryptography.exceptions import InvalidTag

    try:
        return _cipher(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], about.encode()).decode()
    except InvalidTag:
        raise SecretUnreadable(
            f"What is kept of {named} cannot be read: it was sealed under another COGNITIONOS_SECRET_KEY. Set it again."
        ) from None


def _cipher(key: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # here: most processes never seal anything

    return AESGCM(key)
