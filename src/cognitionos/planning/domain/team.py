"""Who may do the tasks of a plan: the agents that everybody has, and the tenant's own that fit the goal best."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

CAPABILITIES: Mapping[str, str] = {"general": "executor", "research": "researcher"}
"""What a task may need, and the agent that ships with the product and has it."""

MOST_OFFERED = 6
LONGEST_LINE = 140
"""Characters that the planner is told of one agent: a small model has a small window."""
_WORD = re.compile(r"\w{3,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """An agent of a tenant's own, in the version that a plan made now works with."""

    name: str
    version: int
    description: str
    capabilities: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """What the planner is told of it, in one line."""
        parts = [", ".join(self.capabilities), f"tools: {', '.join(self.tools)}" if self.tools else ""]
        more = "; ".join(part for part in parts if part)
        text = " ".join(f"{self.name}: {self.description}{f' ({more})' if more else ''}".split())
        return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 1] + "…"


def offered(workers: Iterable[Worker], goal: str) -> tuple[Worker, ...]:
    """Those that the planner may choose from: at most `MOST_OFFERED`, who share most words with the goal, by name."""
    wanted = _words(goal)

    def fit(worker: Worker) -> int:
        return len(wanted & _words(" ".join((worker.name, worker.description, *worker.capabilities))))

    best = sorted(workers, key=lambda worker: (-fit(worker), worker.name))[:MOST_OFFERED]
    return tuple(sorted(best, key=lambda worker: worker.name))


def names(team: Iterable[Worker]) -> list[str]:
    """What a plan may say of who does a task. An agent named as a capability stands in for the one that has it."""
    return list(dict.fromkeys([*CAPABILITIES, *(worker.name for worker in team)]))


def known_as(said: str, team: Iterable[Worker]) -> str | None:
    """The name that is meant by what a model said; None: nobody's."""
    said = said.strip().lower()
    there = names(team)
    by_role = {role: capability for capability, role in CAPABILITIES.items()}
    return said if said in there else by_role.get(said)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))
