"""Which provider answers for which name, for each tenant: its own routes and providers, then the installation's.

A tenant's own are read once, and again at once when one changes, in every process; where Redis is gone or hangs, each
second.
"""

import base64
import time
from collections import ChainMap
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import UUID

import msgspec

from cognitionos.kernel.errors import Invalid
from cognitionos.llm_gateway.application.ports import Chance, Provider
from cognitionos.llm_gateway.domain.chat import ChatRequest
from cognitionos.llm_gateway.domain.errors import (
    InvalidChatRequest,
    ModelNotFound,
    ProviderFailure,
    ProviderUnavailable,
    RequestRefused,
)
from cognitionos.llm_gateway.domain.fingerprint import lot_of
from cognitionos.llm_gateway.domain.price import FREE, Price
from cognitionos.llm_gateway.domain.role_defaults import ANY_ROLE, RoleDefaults
from cognitionos.llm_gateway.domain.route import DEFAULT, Candidate, Choice, Route, in_order, own_home
from cognitionos.llm_gateway.infrastructure.listings import Listings
from cognitionos.llm_gateway.infrastructure.openai_schema import canonical
from cognitionos.llm_gateway.infrastructure.own_models import CHANNEL, OwnModelsStore, ReadModels, ReadProvider
from cognitionos.llm_gateway.infrastructure.provider_keys import UnreadableProvider, key_named
from cognitionos.llm_gateway.infrastructure.providers import Providers
from cognitionos.platform.logging import get_logger
from cognitionos.platform.once import Once
from cognitionos.platform.sealing import SealingKey, SecretUnreadable, unseal
from cognitionos.platform.signals import Signals

log = get_logger(__name__)

FRESH_S = 10.0
"""So old they get where signals are heard: one may be lost."""
MOST_TENANTS = 10_000
_LONG_AGO = float("-inf")
Make = Callable[[ReadProvider, str | None], Provider]
"""The transport of a tenant's provider, with its key."""


class ModelUnknown(Invalid):
    """A route names a model of a provider that is neither the tenant's nor the installation's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Own:
    """What one tenant says, ready to use."""

    text: bytes = b""
    providers: Mapping[str, ReadProvider] = field(default_factory=dict)
    routes: Mapping[str, tuple[Choice, ...]] = field(default_factory=dict)
    defaults: Mapping[str, RoleDefaults] = field(default_factory=dict)

    @property
    def says_nothing(self) -> bool:
        return not (self.providers or self.routes or self.defaults)


class Catalogue:
    """Routes, providers and defaults by tenant. `shared` are the installation's providers."""

    def __init__(
        self,
        shared: Providers,
        store: OwnModelsStore,
        signals: Signals,
        *,
        make: Make,
        sealing_key: SealingKey,
        chance: Chance,
    ) -> None:
        self._shared = shared
        self._store = store
        self._signals = signals
        self._make = make
        self._sealing_key = sealing_key
        self._chance = chance
        self._own: dict[UUID, tuple[float, _Own]] = {}
        self._loads: Once[UUID, _Own] = Once()
        self._providers: dict[str, Provider] = {}
        self._free: set[str] = set()
        self._keyless: set[str] = set()
        self._servers: dict[str, str] = {}
        self._listings = Listings(time.monotonic)
        self.providers: Mapping[str, Provider] = ChainMap(self._providers, shared.by_name)
        """Every provider by its home: tenants' own, and the installation's."""
        self._listening = ExitStack()
        self._changed = self._listening.enter_context(signals.listen(CHANNEL))

    async def open(self) -> None:
        """Nothing to open: what a tenant says is read at its first call."""

    async def close(self) -> None:
        """Stop listening."""
        self._listening.close()

    async def prepare(self, tenant_id: UUID, request: ChatRequest) -> tuple[Route, ChatRequest]:
        """The route of a request, and the request with its role's defaults."""
        own = await self._of(tenant_id)
        if own.says_nothing:
            return await self._served(tenant_id, own, self._shared.resolve(request.model)), request
        defaults = own.defaults.get(request.role or ANY_ROLE)
        route = self._route(tenant_id, own, request.model, chance=partial(self._lot, tenant_id, request))
        return await self._served(tenant_id, own, route), defaults.fill(request) if defaults else request

    async def resolve(self, tenant_id: UUID, asked: str | None) -> Route:
        """The route for a model's name, whether anybody has such a model or not."""
        return self._route(tenant_id, await self._of(tenant_id), asked)

    async def own_default(self, tenant_id: UUID) -> Candidate | None:
        """Who is asked first for a tenant's calls that name no model, where the tenant has said so."""
        own = await self._of(tenant_id)
        if DEFAULT not in own.routes:
            return None
        return self._route(tenant_id, own, DEFAULT, chance=_no_chance).candidates[0]

    async def resolve_embedder(self, tenant_id: UUID, asked: str | None) -> Route:
        """The route for an embedding model: the local one unless named; vectors do not mix: it has one candidate."""
        if asked in (None, "", DEFAULT):
            return self._shared.resolve_embedder(asked)
        own = await self._of(tenant_id)
        route = await self._served(tenant_id, own, self._route(tenant_id, own, asked, chance=_no_chance))
        return replace(route, candidates=route.candidates[:1])

    async def models(self, tenant_id: UUID) -> list[str]:
        """Every model that the tenant may name, its routes among them."""
        own = await self._of(tenant_id)
        named = {f"{each.name}/{model}" for each in own.providers.values() for model in each.models}
        for each in own.providers.values():
            if not each.models:
                named |= await self._asked(own_home(tenant_id, each.name), each.name)
        return sorted({*named, *own.routes, *await self._shared.models()})

    async def check(self, tenant_id: UUID, choices: tuple[Choice, ...]) -> None:
        """Raise `ModelUnknown` for a candidate that no provider is there for."""
        own = await self._of(tenant_id)
        for place, each in enumerate(choices):
            if self._candidate(tenant_id, own, each.model) is None:
                raise ModelUnknown(
                    f"'{each.model}' is not 'provider/model' of a provider that is there.",
                    fields={f"candidates.{place}.model": "name a model as provider/model"},
                )

    def price(self, candidate: Candidate) -> Price | None:
        """The price that came with the provider."""
        if candidate.owner is not None:
            return FREE if candidate.home in self._free else None
        return self._shared.price(candidate)

    def server(self, home: str) -> str:
        """Who answers for a provider's name, in one word: what another one there has said is none of its answers."""
        return self._servers.get(home) or self._shared.server(home)

    def is_unmetered(self, home: str) -> bool:
        """Whether its models are free where nobody says what they cost: a tenant's own provider without a key is."""
        return home in self._keyless or self._shared.is_unmetered(home)

    def _route(self, tenant_id: UUID, own: _Own, asked: str | None, *, chance: Chance | None = None) -> Route:
        choices = own.routes.get(asked or DEFAULT)
        if choices is not None:
            drawn = choices
            if any(each.weight for each in choices):
                drawn = tuple(in_order(choices, chance=(chance or self._chance)()))
            found = [self._candidate(tenant_id, own, each.model) for each in drawn]
            candidates = tuple(dict.fromkeys(each for each in found if each is not None))
            if not candidates:
                raise ProviderUnavailable(f"No provider of the route '{asked or DEFAULT}' is there any more.")
            return Route(asked=asked or DEFAULT, candidates=candidates, reason="route")
        if asked and (candidate := self._own_candidate(tenant_id, own, asked)) is not None:
            return Route(asked=asked, candidates=(candidate,), reason="named")
        shared = self._shared.resolve(asked)
        if not own.providers:
            return shared
        return replace(shared, candidates=tuple(self._rehomed(tenant_id, own, each) for each in shared.candidates))

    async def _served(self, tenant_id: UUID, own: _Own, route: Route) -> Route:
        """The route. Raises `ModelNotFound` where a name with a `/` is no provider's and the one it would go to does
        not list it: a provider that is gone, or misspelt, is not silently another. Who lists nothing may have it.
        """
        first = route.candidates[0]
        if "/" in first.model and first.model == route.asked:
            listed = await self._listings.of(first.home, partial(self._listed, tenant_id, own, first), first.model)
            if listed and first.model not in listed:
                named = first.model.partition("/")[0]
                raise ModelNotFound(
                    f"There is no provider '{named}', and '{first.provider}' lists no model '{first.model}'.",
                    fields={"model": "name a model as provider/model"},
                )
        return route

    async def _listed(self, tenant_id: UUID, own: _Own, candidate: Candidate) -> set[str]:
        """The models that a candidate's provider lists, without its name."""
        if candidate.owner is None:
            names: Collection[str] = await self._shared.listed(candidate.provider)
        else:
            named = own.providers[candidate.provider]
            names = [f"{named.name}/{each}" for each in named.models] or await self._asked(candidate.home, named.name)
        return {each.partition("/")[2] for each in names}

    def _lot(self, tenant_id: UUID, request: ChatRequest) -> float:
        """Identical requests draw the same, so that an answer is found again; one that keeps none draws at random."""
        if not (request.use_cache and request.cache_wish.keep):
            return self._chance()
        return lot_of(request, tenant_id=tenant_id, canonical=canonical)

    def _own_candidate(self, tenant_id: UUID, own: _Own, name: str) -> Candidate | None:
        """A model of the tenant's own: `provider/model`, or a bare name that one of its providers lists."""
        provider, _, model = name.partition("/")
        if provider in own.providers and model:
            return Candidate(provider=provider, model=model, owner=tenant_id)
        lists = next((each.name for each in own.providers.values() if name in each.models), None)
        return None if lists is None else Candidate(provider=lists, model=name, owner=tenant_id)

    def _candidate(self, tenant_id: UUID, own: _Own, name: str) -> Candidate | None:
        provider, _, model = name.partition("/")
        if provider in self._shared.by_name and provider not in own.providers and model:
            return Candidate(provider=provider, model=model)
        return self._own_candidate(tenant_id, own, name)

    def takes(self, candidate: Candidate, request: ChatRequest) -> bool:
        """Whether `candidate` may answer `request`, as far as that is known before it is sent."""
        provider = self.providers.get(candidate.home)
        try:
            if provider is not None:
                provider.check(request)
        except (InvalidChatRequest, ProviderFailure, RequestRefused):
            return False
        return provider is not None

    def _rehomed(self, tenant_id: UUID, own: _Own, candidate: Candidate) -> Candidate:
        """A tenant's provider of the same name goes before the installation's: its own key, its own address."""
        return replace(candidate, owner=tenant_id) if candidate.provider in own.providers else candidate

    async def _asked(self, home: str, name: str) -> set[str]:
        provider = self._providers.get(home)
        try:
            return {f"{name}/{model}" for model in await provider.models()} if provider else set()
        except ProviderFailure:
            return set()

    async def _of(self, tenant_id: UUID) -> _Own:
        if self._changed.is_set():
            self._changed.clear()
            self._own = {tenant: (_LONG_AGO, own) for tenant, (_, own) in self._own.items()}
            self._loads.forget()
        known = self._own.get(tenant_id)
        if known is not None and time.monotonic() - known[0] < self._signals.look_again_s(FRESH_S):
            return known[1]
        return await self._loads(tenant_id, lambda: self._load(tenant_id))

    async def _load(self, tenant_id: UUID) -> _Own:
        known, now = self._own.get(tenant_id), time.monotonic()
        text = await self._store.read(tenant_id)
        if known is None and len(self._own) >= MOST_TENANTS:
            self._own.clear()
            self._providers.clear()
            self._servers.clear()
        own = known[1] if known is not None and known[1].text == text else self._taken(tenant_id, text)
        self._own[tenant_id] = (now, own)
        return own

    def _taken(self, tenant_id: UUID, text: bytes) -> _Own:
        read = msgspec.json.decode(text, type=ReadModels)
        for home in [each for each in self._providers if each.startswith(own_home(tenant_id, ""))]:
            del self._providers[home]
            self._free.discard(home)
            self._keyless.discard(home)
            self._servers.pop(home, None)
        for each in read.providers:
            self._add(tenant_id, each)
        return _Own(
            text=text,
            providers={each.name: each for each in read.providers},
            routes={
                name: tuple(Choice(model=each.model, weight=each.weight) for each in choices)
                for name, choices in read.routes.items()
            },
            defaults={
                role: RoleDefaults(temperature=each.temperature, max_tokens=each.max_tokens)
                for role, each in read.defaults.items()
            },
        )

    def _add(self, tenant_id: UUID, row: ReadProvider) -> None:
        """Where its key cannot be read the name is the tenant's all the same: another key than its own is not used."""
        home, key = own_home(tenant_id, row.name), None
        self._servers[home] = f"{row.kind} {row.base_url} {row.sealed_key} {row.recover_tool_calls}"
        if row.sealed_key is not None:
            try:
                key = unseal(self._sealing_key, base64.b64decode(row.sealed_key), about=home, named=key_named(row.name))
            except SecretUnreadable as error:
                log.warning("provider_key_unreadable", provider=row.name, reason=error.detail)
                self._providers[home] = UnreadableProvider(row.name, error.detail)
                return
        self._providers[home] = self._make(row, key)
        if row.free:
            self._free.add(home)
        if key is None:
            self._keyless.add(home)


def _no_chance() -> float:
    """The first of those with a weight."""
    return 0.0
