"""The labelled pairs of questions beside this file, made from hand-written groups.

`python -m tests.bench.semantic_pairs` writes `seen.jsonl` and `held_out.jsonl` there anew from the `.txt` files.
A group is a question, others that mean the same, and near ones that mean something else. Every two of those that mean
the same are a pair of label 1; the question and its first paraphrase with each near one are pairs of label 0.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "semantic_pairs"
PARTS = ("seen", "held_out")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts, and whether the same answer serves both."""

    text_a: str
    text_b: str
    label: bool


def groups(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """The groups in a text file: those that mean the same (the question first), and those near it."""
    same: list[str] = []
    near: list[str] = []
    for line in text.splitlines():
        mark, _, words = line.partition(" ")
        if mark == "=":
            if same:
                yield same, near
            same, near = [words], []
        elif mark == "+":
            same.append(words)
        elif mark == "-":
            near.append(words)
    if same:
        yield same, near


def pairs_of(part: str) -> list[Pair]:
    """The pairs of a part, in the order of its groups."""
    found = []
    for same, near in groups((FOLDER / f"{part}.txt").read_text(encoding="utf-8")):
        found += [Pair(one, other, label=True) for one, other in itertools.combinations(same, 2)]
        found += [Pair(one, other, label=False) for one in same[:2] for other in near]
    return found


def read(path: Path) -> list[Pair]:
    """The pairs in a file of `{"text_a", "text_b", "label"}` per line. Raises `ValueError` naming the line."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found.append(Pair(str(row["text_a"]), str(row["text_b"]), label=bool(int(row["label"]))))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}:{number} is no labelled pair: {error}") from error
    return found


def as_lines(pairs: list[Pair]) -> str:
    """The pairs as such a file."""
    rows = ({"text_a": each.text_a, "text_b": each.text_b, "label": int(each.label)} for each in pairs)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def main() -> None:
    """Write the files anew."""
    for part in PARTS:
        pairs = pairs_of(part)
        (FOLDER / f"{part}.jsonl").write_text(as_lines(pairs), encoding="utf-8")
        print(f"{part}: {len(pairs)} pairs, {sum(each.label for each in pairs)} of them mean the same")


if __name__ == "__main__":
    main()
