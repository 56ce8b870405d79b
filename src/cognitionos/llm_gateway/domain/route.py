"""Where a call goes: the ordered candidates behind a model's name."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from cognitionos.kernel.value import value

DEFAULT = "default"
FOR_MONEY = "budget"
"""The reason of a route that a budget past its soft share chose."""


@value
class Candidate:
    """A model at a provider, under the name the provider knows it by. `owner` is the tenant whose provider it is.

    `owner` None: the installation's.
    """

    provider: str
    model: str
    owner: UUID | None = None

    @property
    def name(self) -> str:
        """The name under which callers may ask for it."""
        return f"{self.provider}/{self.model}"

    @property
    def home(self) -> str:
        """The provider's name among those of all tenants."""
        return self.provider if self.owner is None else own_home(self.owner, self.provider)

    @property
    def deployment(self) -> str:
        """The model's name among those of all tenants: what a circuit and a bulkhead are for."""
        return f"{self.home}/{self.model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A candidate of a route that a tenant made: `model` is `provider/model`."""

    model: str
    weight: int | None = None


def in_order(choices: Sequence[Choice], *, chance: float) -> list[Choice]:
    """Who is tried first, second, ...: as listed, but where weights are given the first is drawn by them.

    A choice of weight 0 (or without one, where others have one) is fallback only. `chance` is uniform in [0, 1).
    """
    total = sum(each.weight or 0 for each in choices)
    drawn = chance * total
    for each in choices:
        drawn -= each.weight or 0
        if total and each.weight and drawn < 0:
            return [each, *(other for other in choices if other is not each)]
    return list(choices)


OWN = "tenant:"


def own_home(owner: UUID, provider: str) -> str:
    """The name of a tenant's own provider among those of all tenants; none of the installation's looks like it."""
    return f"{OWN}{owner}/{provider}"


@value
class Route:
    """Candidates in the order they are tried. `asked` is the caller's own word for the model.

    The first so many are `stand_ins` for what was asked for: what one of them cannot take is asked of the next.
    """

    asked: str
    candidates: tuple[Candidate, ...]
    reason: str
    stand_ins: int = 0

    def named(self, name: str) -> Candidate:
        """Who answered under this name; an identical request's route may have had others than this one."""
        first = self.candidates[0]
        if name == first.name:
            return first
        provider, slash, model = name.partition("/")
        other = Candidate(provider=provider, model=model) if slash else first
        return next((each for each in self.candidates if each.name == name), other)

    def stands_in(self, candidate: Candidate) -> bool:
        """Whether `candidate` answers instead of the model that was asked for."""
        return candidate in self.candidates[: self.stand_ins]

    def instead_of(self, asked: "Route", *, falls_back: bool) -> "Route":
        """This route for the money's sake; where it `falls_back`, what was asked for comes after it."""
        further = tuple(each for each in asked.candidates if each not in self.candidates) if falls_back else ()
        return Route(
            asked=asked.asked,
            candidates=(*self.candidates, *further),
            reason=FOR_MONEY,
            stand_ins=len(self.candidates),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The names there are: providers, the default model, and what is tried after the first candidate.

    `explicit_only` providers are used when asked for by name or as the default, and are neither fallback nor have one.
    """

    providers: Collection[str]
    default_provider: str
    default_model: str
    fallbacks: tuple[Candidate, ...] = ()
    explicit_only: Collection[str] = ()

    def candidate(self, name: str) -> Candidate:
        """`provider/model` of a known provider; any other name goes to the default provider unchanged."""
        provider, slash, model = name.partition("/")
        if slash and model and provider in self.providers:
            return Candidate(provider=provider, model=model)
        return Candidate(provider=self.default_provider, model=name)

    def route(self, asked: str | None) -> Route:
        """The route for what a caller asked; None, an empty name and `default` mean the default model."""
        named = asked not in (None, "", DEFAULT)
        first = self.candidate(asked if named and asked else self.default_model)
        further = () if first.provider in self.explicit_only else self.fallbacks
        rest = tuple(other for other in further if other != first and other.provider not in self.explicit_only)
        return Route(
            asked=asked or DEFAULT,
            candidates=(first, *dict.fromkeys(rest)),
            reason="named" if named else "default",
        )
