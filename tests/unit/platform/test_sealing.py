"""Secrets at rest open with their key, for what they belong to, unchanged; and in no other way."""

import pytest

from cognitionos.platform.crypto import purpose_key
from cognitionos.platform.sealing import SealingKey, SecretUnreadable, seal, unseal

KEY = SealingKey(purpose_key("secret", "provider-keys"))


def test_what_is_sealed_opens_again_and_never_looks_the_same() -> None:
    sealed = seal(KEY, "sk-123", about="acme")

    assert unseal(KEY, sealed, about="acme", named="it") == "sk-123"
    assert b"sk-123" not in sealed
    assert seal(KEY, "sk-123", about="acme") != sealed


@pytest.mark.parametrize("spoil", ["key", "about", "bit", "cut"])
def test_anything_else_does_not_open_it(spoil: str) -> None:
    sealed = seal(KEY, "sk-123", about="acme")
    key = SealingKey(purpose_key("other", "provider-keys")) if spoil == "key" else KEY
    text = {"bit": sealed[:-1] + bytes([sealed[-1] ^ 1]), "cut": sealed[:-1]}.get(spoil, sealed)

    with pytest.raises(SecretUnreadable):
        unseal(key, text, about="other" if spoil == "about" else "acme", named="it")


def test_what_was_sealed_before_opens_and_what_is_sealed_now_needs_the_present_key() -> None:
    rotated = SealingKey(b"n" * 32, before=KEY.present)

    assert unseal(rotated, seal(KEY, "old", about="a"), about="a", named="it") == "old"
    with pytest.raises(SecretUnreadable):
        unseal(KEY, seal(rotated, "new", about="a"), about="a", named="it")
