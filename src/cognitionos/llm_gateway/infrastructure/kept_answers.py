"""A kept answer as bytes, the same in every store: one JSON object whose first field is its epoch."""

from uuid import UUID

import msgspec

from cognitionos.llm_gateway.domain.cached import Kept


class _Stored(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    epoch: int
    stored_at: float
    expires_at: float
    cost_nanousd: int
    model: str
    scopes: tuple[str, ...]
    wire: msgspec.Raw
    reuse: UUID | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Stored).decode


def write_kept(kept: Kept, *, expires_at: float) -> bytes:
    """The bytes of an answer as it lives in one store; where it was found is not part of it."""
    stored = _Stored(
        epoch=kept.epoch,
        stored_at=kept.stored_at,
        expires_at=expires_at,
        cost_nanousd=kept.cost_nanousd,
        model=kept.model,
        scopes=kept.scopes,
        wire=msgspec.Raw(kept.wire),
        reuse=kept.reuse,
    )
    return _encode(stored)


def read_kept(data: bytes, *, layer: str) -> Kept | None:
    """The answer in `data`, found in `layer`; None where another version wrote it."""
    try:
        stored = _decode(data)
    except msgspec.DecodeError:
        return None
    return Kept(
        wire=bytes(stored.wire),
        model=stored.model,
        cost_nanousd=stored.cost_nanousd,
        stored_at=stored.stored_at,
        expires_at=stored.expires_at,
        epoch=stored.epoch,
        scopes=stored.scopes,
        layer=layer,
        reuse=stored.reuse,
    )


def prefix_of(epoch: int) -> bytes:
    """What the bytes of every answer of an epoch begin with."""
    return f'{{"epoch":{epoch},'.encode()
