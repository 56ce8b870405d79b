"""Tenancy, wired."""

import secrets
import time
from dataclasses import dataclass
from functools import partial

from pydantic import SecretStr

from cognitionos.composition.base import Base, Resource
from cognitionos.events.tenancy import ApiKeyRevoked, ApiKeyRotated
from cognitionos.platform.crypto import digest, purpose_key
from cognitionos.platform.unit_of_work import units_of_work
from cognitionos.tenancy.domain.api_key import Digest
from cognitionos.tenancy.facade import ApiKeys, Authentication, Tenants
from cognitionos.tenancy.infrastructure.key_store import KeyStore
from cognitionos.tenancy.infrastructure.queries import TenancyQueries
from cognitionos.tenancy.infrastructure.repository import TenancyWork


@dataclass(frozen=True, kw_only=True)
class TenancyServices:
    """What the HTTP edge and the command line use of tenancy."""

    tenants: Tenants
    api_keys: ApiKeys
    authenticate: Authentication
    queries: TenancyQueries
    key_store: KeyStore
    resources: tuple[Resource, ...] = ()


def build(base: Base) -> TenancyServices:
    """Tenancy on `base`. No I/O."""
    begin = units_of_work(TenancyWork, database=base.database, bus=base.bus, relay=base.outbox)
    hash_key = _hashing(base.settings.secret_key)
    before = base.settings.secret_key_before
    store = KeyStore(base.database)
    authenticate = Authentication(
        find=store.find,
        note_use=store.note_use,
        digest=hash_key,
        digest_before=None if before is None else _hashing(before),
        now=base.now,
        monotonic=time.monotonic,
    )
    base.bus.listen(ApiKeyRevoked, authenticate.forget)
    base.bus.listen(ApiKeyRotated, authenticate.forget)
    return TenancyServices(
        tenants=Tenants(begin=begin, now=base.now, new_id=base.new_id),
        api_keys=ApiKeys(begin=begin, now=base.now, new_id=base.new_id, random=secrets.token_bytes, digest=hash_key),
        authenticate=authenticate,
        queries=TenancyQueries(base.database),
        key_store=store,
    )


def _hashing(secret: SecretStr) -> Digest:
    return partial(digest, purpose_key(secret.get_secret_value(), "api-key"))
