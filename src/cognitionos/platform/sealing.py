"""Secrets at rest: sealed with a key derived from the installation's secret, and bound to what they belong to.

AES-256-GCM with a random nonce of 96 bits (NIST SP 800-38D); sealed = nonce + ciphertext + tag.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12


def seal(key: bytes, text: str, *, about: str) -> bytes:
    """`text`, unreadable without the 32-byte `key`. `about` names what it belongs to: elsewhere it does not open."""
    nonce = os.urandom(_NONCE)
    return nonce + _cipher(key).encrypt(nonce, text.encode(), about.encode())


def unseal(key: bytes, sealed: bytes, *, about: str) -> str:
    """What `seal` was given; raises `ValueError` where key or `about` are others, or a bit has changed."""
    from cryptography.exceptions import InvalidTag

    try:
        return _cipher(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], about.encode()).decode()
    except InvalidTag:
        raise ValueError("it was sealed with another key, or for something else") from None


def _cipher(key: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # here: most processes never seal anything

    return AESGCM(key)
