"""How many planted falsehoods the grounding check finds, and how often it flags what is true, on labelled answers.

`python -m tests.bench.grounding [FILE ...]`: files of `{"evidence": [...], "answer": "...", "false_claims": ["..."]}`
per line; without one, our own parts. Nothing is asked of a model. `-v` prints what was missed and what was flagged
wrongly.
"""

import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cognitionos.agents.domain.grounding import Check, Claim, check

FOLDER = Path(__file__).with_name("grounding_cases")
PARTS = ("development", "held_out", "beyond")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An answer and what it was made from; `false_claims` are the pieces of it that were planted."""

    evidence: tuple[str, ...]
    answer: str
    false_claims: tuple[str, ...]

    @property
    def planted(self) -> list[tuple[int, int]]:
        """Where they stand."""
        return [_place(self.answer, claim) for claim in self.false_claims]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was flagged in a case."""

    case: Case
    checked: Check

    @property
    def found(self) -> list[bool]:
        """Of each planted claim, whether some of it was flagged."""
        return [any(_meet(place, claim) for claim in self.checked.unsupported) for place in self.case.planted]

    @property
    def false_alarms(self) -> list[Claim]:
        """What was flagged and is true."""
        flagged = self.checked.unsupported
        return [claim for claim in flagged if not any(_meet(place, claim) for place in self.case.planted)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Sums over cases."""

    answers: int
    claims: int
    planted: int
    found: int
    flags: int
    false_flags: int
    true_answers: int
    alarmed: int
    alarms: int

    @property
    def recall(self) -> float:
        """The share of planted claims that were flagged."""
        return self.found / max(1, self.planted)

    @property
    def precision(self) -> float:
        """The share of flags that stand on a planted claim."""
        return 1 - self.false_flags / max(1, self.flags)

    @property
    def alarms_per_answer(self) -> float:
        """Flags on an answer without a false claim."""
        return self.alarms / max(1, self.true_answers)


def read(file: Path) -> list[Case]:
    """The cases of a file. Raises `ValueError` naming the first line that is none."""
    cases = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            cases.append(_case(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file}:{number} is no labelled answer: {error}") from error
    return cases


def judge(cases: Sequence[Case]) -> list[Result]:
    """Every answer, checked as the product does."""
    return [Result(case=case, checked=check(case.answer, case.evidence)) for case in cases]


def rates(results: Sequence[Result]) -> Rates:
    """What they add up to."""
    true = [each for each in results if not each.case.false_claims]
    return Rates(
        answers=len(results),
        claims=sum(each.checked.checked for each in results),
        planted=sum(len(each.found) for each in results),
        found=sum(sum(each.found) for each in results),
        flags=sum(len(each.checked.unsupported) for each in results),
        false_flags=sum(len(each.false_alarms) for each in results),
        true_answers=len(true),
        alarmed=sum(bool(each.false_alarms) for each in true),
        alarms=sum(len(each.false_alarms) for each in true),
    )


def main(arguments: Sequence[str]) -> int:
    """Print a table; gives the exit status."""
    files = [Path(each) for each in arguments if not each.startswith("-")]
    print(f"{'':24}{'answers':>8}{'claims':>8}{'planted':>9}{'recall':>9}{'precision':>11}{'alarms':>8}{'ms':>7}")
    for file in files or [FOLDER / f"{part}.jsonl" for part in PARTS]:
        try:
            cases = read(file)
        except ValueError as error:
            print(error, file=sys.stderr)
            return 2
        started = time.perf_counter()
        results = judge(cases)
        took_ms = 1000 * (time.perf_counter() - started) / max(1, len(cases))
        print(_line(file.stem, rates(results), took_ms))
        if "-v" in arguments:
            _tell(results)
    print("recall: planted claims flagged; precision: flags on planted claims; alarms: flags per answer that is true.")
    return 0


def _line(name: str, made: Rates, took_ms: float) -> str:
    return (
        f"{name:24}{made.answers:8}{made.claims:8}{made.planted:9}{100 * made.recall:7.1f} %"
        f"{100 * made.precision:9.1f} %{made.alarms_per_answer:8.2f}{took_ms:7.1f}"
    )


def _tell(results: Sequence[Result]) -> None:
    for each in results:
        missed = [claim for claim, found in zip(each.case.false_claims, each.found, strict=True) if not found]
        wrong = [f"{claim.kind}:{claim.text}" for claim in each.false_alarms]
        if missed or wrong:
            print(f"  {each.case.answer[:60]!r}\n    missed {missed}\n    wrongly flagged {wrong}")


def _case(given: Any) -> Case:
    case = Case(
        evidence=tuple(given["evidence"]), answer=given["answer"], false_claims=tuple(given.get("false_claims", ()))
    )
    "".join([*case.evidence, case.answer])  # texts, all of them
    _ = case.planted
    return case


def _place(answer: str, claim: str) -> tuple[int, int]:
    match = re.search(rf"(?<!\w){re.escape(claim)}(?!\w)", answer)
    if match is None:
        raise ValueError(f"{claim!r} is not in the answer")
    return match.span()


def _meet(place: tuple[int, int], claim: Claim) -> bool:
    return place[0] < claim.end and claim.start < place[1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
