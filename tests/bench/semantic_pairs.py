"""The labelled pairs of questions beside this file, made from hand-written groups.

`python -m tests.bench.semantic_pairs` writes the `.jsonl` files there anew from the `.txt` files.
A group is a question, others that mean the same, and near ones that mean something else. Every two of those that mean
the same are a pair of label 1; the question and its first paraphrase with each near one are pairs of label 0.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "semantic_pairs"
PARTS = ("seen", "held_out", "words_seen", "words_held_out")
"""`words_`: pairs that differ in one word which looks like the other's. Of either kind only "seen" was looked at."""
_LABELS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}


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
    """The pairs in a file. Raises `ValueError` naming what is wrong and where."""
    try:
        return parse(path.read_bytes().decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}") from error


def parse(text: str, name: str) -> list[Pair]:
    """The pairs in `{"text_a", "text_b", "label"}` per line, or in one JSON array of them."""
    found = []
    for where, row in _rows(text, name):
        if not isinstance(row, dict):
            raise ValueError(f"{where} is no object")  # noqa: TRY004 (the caller reads one kind of error)
        missing = [field for field in ("text_a", "text_b", "label") if field not in row]
        if missing:
            raise ValueError(f"{where} has no {' and no '.join(missing)}")
        if not isinstance(row["text_a"], str) or not isinstance(row["text_b"], str):
            raise ValueError(f"{where}: text_a and text_b are strings")  # noqa: TRY004 (as above)
        found.append(Pair(row["text_a"], row["text_b"], label=_label(row["label"], where)))
    if not found:
        raise ValueError(f"{name} holds no pairs")
    return found


def _rows(text: str, name: str) -> Iterator[tuple[str, object]]:
    """Each row with where it stands. Newlines of Windows and blank lines do no harm."""
    if text.lstrip().startswith("["):
        try:
            array = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{name} is no JSON array: {error}") from error
        yield from ((f"{name}, entry {number}", row) for number, row in enumerate(array, start=1))
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield f"{name}:{number}", json.loads(line)
            except ValueError as error:
                raise ValueError(f"{name}:{number} is no JSON: {error}") from error


def _label(value: object, where: str) -> bool:
    """1, 1.0, "1", true and "true" are one label, 0 and its like the other."""
    label = _LABELS.get(str(value).strip().lower())
    if label is None:
        raise ValueError(f"{where}: label is 0 or 1, not {value!r}")
    return label


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
