"""Keyed digests. Keys for different purposes are derived from the one secret, so that none can stand in for another."""

import hashlib
import hmac


def purpose_key(secret: str, purpose: str) -> bytes:
    """A 32-byte key for `purpose`, derived from the installation's secret (HMAC-SHA256)."""
    return hmac.digest(secret.encode(), b"cognitionos:" + purpose.encode(), "sha256")


def digest(key: bytes, text: str) -> bytes:
    """The 32-byte HMAC-SHA256 of `text` under `key`."""
    return hmac.digest(key, text.encode(), "sha256")


def same(left: bytes, right: bytes) -> bool:
    """Whether two digests are equal, in constant time."""
    return hmac.compare_digest(left, right)


def fingerprint(*parts: bytes) -> bytes:
    """The 32-byte SHA-256 of `parts`, each preceded by its length."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big"))
        hasher.update(part)
    return hasher.digest()
