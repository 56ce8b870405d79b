"""The providers there are: from the settings, the operator's file and, where neither names one, a local server."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from cognitionos.kernel.clock import Clock, utc_now
from cognitionos.kernel.ids import new_id
from cognitionos.llm_gateway.application.ports import Provider
from cognitionos.llm_gateway.domain.errors import ProviderFailure, ProviderUnavailable, SimulatedModelRefused
from cognitionos.llm_gateway.domain.price import FREE, Price
from cognitionos.llm_gateway.domain.route import Candidate, Route, Routing
from cognitionos.llm_gateway.facade import DefaultModel
from cognitionos.llm_gateway.infrastructure import simulated_provider, wordllama_provider
from cognitionos.llm_gateway.infrastructure.anthropic_provider import ANTHROPIC_URL, AnthropicProvider
from cognitionos.llm_gateway.infrastructure.litellm_provider import LiteLLMProvider
from cognitionos.llm_gateway.infrastructure.openai_provider import OPENAI_URL, LimitField, OpenAIProvider
from cognitionos.llm_gateway.infrastructure.provider_file import FileProvider, read_providers
from cognitionos.llm_gateway.infrastructure.tool_call_recovery import ToolCallRecovery
from cognitionos.platform.config import Settings
from cognitionos.platform.http import HttpClient
from cognitionos.platform.http_address import leads_inside
from cognitionos.platform.logging import get_logger

log = get_logger(__name__)

OPENAI, ANTHROPIC = "openai", "anthropic"
DEFAULT_MODELS = {OPENAI: "gpt-4o-mini", ANTHROPIC: "claude-haiku-4-5"}
LOCAL_SERVERS = {
    "ollama": "http://127.0.0.1:11434/v1",
    "lmstudio": "http://127.0.0.1:1234/v1",
    "llamacpp": "http://127.0.0.1:8080/v1",
}
PROBE_S = 0.2
ASK_MODELS_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A provider and what is known about its models. `price` None: ask the public table.

    `unmetered`: what has no price there either is free. `server` is where it stands.
    """

    provider: Provider
    price: Price | None = None
    models: tuple[str, ...] = ()
    unmetered: bool = False
    server: str = ""


class Providers:
    """The registry. `open` looks for local servers and settles which model is the default."""

    def __init__(
        self,
        settings: Settings,
        *,
        http: HttpClient,
        simulated: Provider,
        environment: Mapping[str, str],
        local_servers: Mapping[str, str] = LOCAL_SERVERS,
        now: Clock = utc_now,
        longest_answer: Callable[[str], int | None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._http = http
        self._now = now
        self._longest_answer = longest_answer
        self._local_servers = local_servers
        self._known: dict[str, Registered] = {}
        self.by_name: dict[str, Provider] = {}
        """Every provider by its name; the same object for the life of the process."""
        self._add(Registered(provider=wordllama_provider.WordLlamaProvider(), price=FREE))
        if not settings.is_production:
            self._add(Registered(provider=simulated, price=FREE))
        self._chatters: list[str] = []
        self._defaults: dict[str, str] = {}
        for registered in (*self._from_settings(), *self._from_file(environment)):
            self._add(registered)
            self._chatters.append(registered.provider.name)
        self._routing = self._routed()

    async def open(self) -> None:
        """Find the default: what is configured, else a server on a well-known local port, else the simulated model."""
        if self._settings.detect_local_models and (not self._chatters or self._names_a_local_server()):
            await self._detect()
        first = self._chatters[0] if self._chatters else None
        if first and self._settings.model is None and first not in self._defaults and not self._known[first].models:
            await self._ask_models(first)
        self._routing = self._routed()
        default = self.describe_default()
        if default.simulated:
            log.warning("model_is_simulated", model=default.model, remedy=default.hint)
        else:
            log.info("default_model", model=default.model, free_unless_priced=self.is_unmetered(default.provider))

    async def close(self) -> None:
        """Nothing to close: connections belong to the HTTP client."""

    def resolve(self, asked: str | None) -> Route:
        """The route for a model's name; `SimulatedModelRefused` in production, `ProviderUnavailable` without any."""
        if self._settings.is_production and (asked or "").startswith(f"{simulated_provider.NAME}/"):
            raise SimulatedModelRefused("Simulated models are refused in production: name a real one.")
        route = self._routing.route(asked)
        if route.candidates[0].provider not in self.by_name:
            raise ProviderUnavailable(f"No model provider is configured. {simulated_provider.HOW_TO_CONNECT}")
        return route

    def resolve_embedder(self, asked: str | None) -> Route:
        """The route for an embedding model: the local one unless named; vectors do not mix, so it has one candidate."""
        name = asked if asked not in (None, "", "default") else f"{wordllama_provider.NAME}/{wordllama_provider.MODEL}"
        route = self.resolve(name)
        return Route(asked=asked or "default", candidates=route.candidates[:1], reason=route.reason)

    def price(self, candidate: Candidate) -> Price | None:
        """The price that came with the provider."""
        return self._known[candidate.provider].price if candidate.provider in self._known else None

    def server(self, name: str) -> str:
        """Where it stands; empty where that never changes."""
        return self._known[name].server if name in self._known else ""

    def is_unmetered(self, name: str) -> bool:
        """Whether its models are free where nobody says what they cost: it is asked without a key, or it is the server
        of `OPENAI_BASE_URL` and stands at an address that is not public.
        """
        return name in self._known and self._known[name].unmetered

    def describe_default(self) -> DefaultModel:
        """Which model answers when nobody names one."""
        candidate = self._routing.route(None).candidates[0]
        simulated = candidate.provider == simulated_provider.NAME
        if candidate.provider not in self.by_name:
            return DefaultModel(model="", simulated=False, provider="", hint=simulated_provider.HOW_TO_CONNECT)
        return DefaultModel(
            model=candidate.name,
            simulated=simulated,
            provider=candidate.provider,
            hint=simulated_provider.HOW_TO_CONNECT if simulated else "",
        )

    async def models(self) -> list[str]:
        """Every model there is to name, as `provider/model`; a provider that does not answer is left out."""
        listed = await asyncio.gather(*(self._models_of(each) for each in self._known.values()))
        return sorted(name for names in listed for name in names)

    async def listed(self, name: str) -> list[str]:
        """The models of one provider as `provider/model`; none where it does not say."""
        return await self._models_of(self._known[name]) if name in self._known else []

    async def _models_of(self, registered: Registered) -> list[str]:
        names = registered.models
        if not names:
            try:
                async with asyncio.timeout(ASK_MODELS_S):
                    names = tuple(await registered.provider.models())
            except (ProviderFailure, TimeoutError):
                names = ()
        return [f"{registered.provider.name}/{name}" for name in names]

    def _routed(self) -> Routing:
        simulated = simulated_provider.NAME
        provider = self._chatters[0] if self._chatters else (simulated if simulated in self.by_name else "")
        if self._settings.model:
            model = self._settings.model
        elif provider in ("", simulated):
            model = f"{simulated}/{simulated_provider.MODEL}"
        else:
            listed = (*self._known[provider].models, self._defaults.get(provider), DEFAULT_MODELS.get(provider))
            model = f"{provider}/{next((name for name in listed if name), 'default')}"
        routing = Routing(
            providers=self.by_name.keys(), default_provider=provider, default_model=model, explicit_only=(simulated,)
        )
        return replace(routing, fallbacks=tuple(routing.candidate(name) for name in self._settings.fallback_models))

    def _names_a_local_server(self) -> bool:
        named = (self._settings.model or "", *self._settings.fallback_models)
        return any(name.partition("/")[0] in self._local_servers for name in named)

    def _from_settings(self) -> list[Registered]:
        settings, found = self._settings, []
        key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
        if key or settings.openai_base_url:
            base_url = settings.openai_base_url or OPENAI_URL
            made = self._compatible(OPENAI, base_url, key)
            found.append(replace(made, unmetered=made.unmetered or leads_inside(base_url)))
        if settings.anthropic_api_key:
            secret = settings.anthropic_api_key.get_secret_value()
            base_url = settings.anthropic_base_url or ANTHROPIC_URL
            found.append(Registered(provider=self._anthropic(ANTHROPIC, secret, base_url=base_url), server=base_url))
        return found

    def _from_file(self, environment: Mapping[str, str]) -> list[Registered]:
        if self._settings.providers_file is None:
            return []
        return [self._from_entry(each, environment) for each in read_providers(self._settings.providers_file)]

    def _from_entry(self, entry: FileProvider, environment: Mapping[str, str]) -> Registered:
        key = environment.get(entry.api_key_env) if entry.api_key_env else None
        models = tuple(entry.models)
        if entry.vendor is not None:
            provider = self._of_vendor(entry.name, entry.vendor, key)
            return Registered(provider=provider, price=entry.own_price, models=models, server=entry.vendor)
        recover = "recover_tool_calls" in entry.flags
        made = self._compatible(entry.name, entry.base_url or "", key, recover=recover, limit_field=entry.limit_field)
        price = entry.own_price if entry.own_price is not None else made.price
        return replace(made, price=price, models=models)

    def _of_vendor(self, name: str, vendor: str, key: str | None) -> Provider:
        if vendor == ANTHROPIC and key is not None:
            return self._anthropic(name, key)
        return LiteLLMProvider(name=name, vendor=vendor, api_key=key, longest_silence_s=self._http.longest_silence_s)

    def _anthropic(self, name: str, key: str, *, base_url: str = ANTHROPIC_URL) -> Provider:
        longest = self._longest_answer
        return AnthropicProvider(
            self._http, name=name, api_key=key, base_url=base_url, now=self._now, longest_answer=longest
        )

    def _compatible(
        self,
        name: str,
        base_url: str,
        key: str | None,
        *,
        recover: bool = False,
        limit_field: LimitField | None = None,
    ) -> Registered:
        provider: Provider = OpenAIProvider(
            self._http, name=name, base_url=base_url, api_key=key, limit_field=limit_field
        )
        if recover:
            provider = ToolCallRecovery(provider, new_id=lambda: f"call_{new_id().hex}")
        return Registered(provider=provider, unmetered=key is None, server=base_url)

    def _add(self, registered: Registered) -> None:
        self._known[registered.provider.name] = registered
        self.by_name[registered.provider.name] = registered.provider

    async def _detect(self) -> None:
        async def probe(name: str, base_url: str) -> None:
            made = self._compatible(name, base_url, None, recover=True)
            try:
                async with asyncio.timeout(PROBE_S):
                    models = tuple(each for each in await made.provider.models() if "embed" not in each.lower())
            except (ProviderFailure, TimeoutError):
                return
            if models:
                self._add(replace(made, price=FREE))
                self._defaults[name] = models[0]
                log.info("local_models_found", provider=name, models=models[:5], use=f"COGNITIONOS_MODEL={name}/...")

        elsewhere = {name: url for name, url in self._local_servers.items() if not self._is_ourselves(url)}
        await asyncio.gather(*(probe(name, url) for name, url in elsewhere.items()))
        self._chatters.extend(name for name in elsewhere if name in self._known)

    def _is_ourselves(self, url: str) -> bool:
        return urlsplit(url).port == self._settings.port

    async def _ask_models(self, name: str) -> None:
        """Take a server's first model as the default where nobody said which."""
        registered = self._known[name]
        is_official = name == OPENAI and not self._settings.openai_base_url
        if is_official:
            return
        listed = [each.partition("/")[2] for each in await self._models_of(registered)]
        chat_models = [each for each in listed if "embed" not in each.lower()]
        preferred = [each for each in chat_models if each == DEFAULT_MODELS.get(name)] or chat_models
        if preferred:
            self._defaults[name] = preferred[0]
