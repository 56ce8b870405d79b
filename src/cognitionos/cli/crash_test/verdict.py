"""What is right and what is not, from the runs' results and the requests that the sink saw."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from cognitionos.cli.crash_test.load import Result
from cognitionos.cli.crash_test.sink import Attempt, Effect, Sink

_ENDED = frozenset({"succeeded", "skipped"})
_SAME_MOMENT_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The figures. `doubled`: effects that came under two keys, or under none; `faults`: each breach in words.

    `unmeasured`: take-overs of tasks that some worker took and died before its request came here, so that nobody saw
    from when to count.
    """

    runs: int
    runs_succeeded: int
    tasks: int
    tasks_lost: int
    outputs_differing: int
    effects: int
    effects_lost: int
    effects_doubled: int
    requests_repeated: int
    take_overs_s: Sequence[float]
    take_overs_unmeasured: int
    faults: Sequence[str]

    def take_over_s(self, share: float) -> float | None:
        """Of the take-overs this share took at most so many seconds; None when there was none."""
        ordered = sorted(self.take_overs_s)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None

    def with_faults(self, more: Sequence[str]) -> "Verdict":
        """The same with more that is wrong."""
        return replace(self, faults=[*self.faults, *more])


def judge(
    results: Sequence[Result],
    calm: Mapping[int, Result],
    sink: Sink,
    *,
    deaths: Sequence[float],
    up_s: Callable[[float, float], float],
) -> Verdict:
    """Compare each run with the calm one of its number, and what happened with what should have."""
    failed = [f"run {each.id} is {each.status} {each.error}".rstrip() for each in results if each.status != "succeeded"]
    lost = [fault for each in results for fault in _lost(each, calm[each.number])]
    differing = [fault for each in results for fault in _differing(each, calm[each.number])]
    did = _by_run(sink)
    wanted = {Effect(each.name, *what) for each in results for what in did[calm[each.number].name]}
    happened = {Effect(each.name, *what) for each in results for what in did[each.name]}
    missing = [f"effect never happened: {effect}" for effect in wanted - happened]
    uncalled = [f"effect that no task asked for: {effect}" for effect in happened - wanted]
    doubled = list(_doubled(sink))
    measured, unmeasured = _measured(results, sink, deaths)
    return Verdict(
        runs=len(results),
        runs_succeeded=len(results) - len(failed),
        tasks=sum(len(calm[each.number].outputs) for each in results),
        tasks_lost=len(lost),
        outputs_differing=len(differing),
        effects=len(wanted),
        effects_lost=len(missing),
        effects_doubled=len(doubled),
        requests_repeated=sum(len(attempts) - 1 for attempts in sink.attempts.values()),
        take_overs_s=[up_s(*span) for span in measured],
        take_overs_unmeasured=unmeasured,
        faults=[*failed, *lost, *differing, *missing, *uncalled, *doubled],
    )


def take_overs(attempts: Sequence[Attempt], *, deaths: Sequence[float]) -> Iterator[tuple[float, float]]:
    """For each repeated request of a key: from the death of the worker that sent it before, to the repetition.

    A request that broke off tells the moment; one that was answered lost its worker before that could be recorded, at
    the next of `deaths`.
    """
    for before, again in pairwise(attempts):
        ended_at = before.ended_at
        if ended_at is None or ended_at > again.began_at:
            continue  # both at once: the worker was not dead but late, and its key keeps the effect single
        later = [death for death in deaths if ended_at - _SAME_MOMENT_S <= death <= again.began_at]
        yield (ended_at if before.broke_off or not later else max(ended_at, min(later))), again.began_at


def _measured(results: Sequence[Result], sink: Sink, deaths: Sequence[float]) -> tuple[list[tuple[float, float]], int]:
    """The take-overs of tasks whose every attempt was seen here, and how many there were of others."""
    taken = {each.name: each.attempts for each in results}
    spans: list[tuple[float, float]] = []
    unmeasured = 0
    for effect, keys in sink.effects.items():
        task = effect.task if effect.item is None else f"{effect.task}[{effect.item}]"
        for key in keys - {""}:
            attempts = sink.attempts[key]
            if taken.get(effect.run, {}).get(task) == len(attempts):
                spans += take_overs(attempts, deaths=deaths)
            else:
                unmeasured += len(attempts) - 1
    return spans, unmeasured


def _lost(result: Result, calm: Result) -> Iterator[str]:
    """Tasks that the calm run has and this one has not, or has not ended."""
    for key in calm.outputs:
        status = result.outputs[key][0] if key in result.outputs else "not there"
        if status not in _ENDED:
            yield f"task lost: {key} of run {result.id} is {status}"


def _differing(result: Result, calm: Result) -> Iterator[str]:
    for key, ended in result.outputs.items():
        if ended[0] in _ENDED and ended != calm.outputs.get(key):
            yield f"output differs: {key} of run {result.id} is {ended}, without kills {calm.outputs.get(key)}"


def _by_run(sink: Sink) -> dict[str, set[tuple[str, int | None]]]:
    found: defaultdict[str, set[tuple[str, int | None]]] = defaultdict(set)
    for effect in sink.effects:
        found[effect.run].add((effect.task, effect.item))
    return found


def _doubled(sink: Sink) -> Iterator[str]:
    known: dict[str, Effect] = {}
    for effect, keys in sink.effects.items():
        if len(keys) != 1 or "" in keys:
            yield f"effect doubled: {effect} came under {len(keys)} keys{' or none' if '' in keys else ''}"
        for key in keys - {""}:
            if known.setdefault(key, effect) != effect:
                yield f"key used twice: {key} for {known[key]} and {effect}"
