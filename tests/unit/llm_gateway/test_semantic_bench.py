"""The labelled pairs and the script that measures on them: what the documents say of both."""

from pathlib import Path

import pytest
from tests.bench import semantic
from tests.bench.semantic_pairs import FOLDER, PARTS, Pair, as_lines, pairs_of, read

from cognitionos.llm_gateway.domain.semantic_calibration import BOUNDS, STARTS


@pytest.mark.parametrize("part", PARTS)
def test_the_files_of_pairs_are_made_from_the_groups(part: str) -> None:
    written = (FOLDER / f"{part}.jsonl").read_text(encoding="utf-8")

    assert written == as_lines(pairs_of(part))
    assert read(FOLDER / f"{part}.jsonl") == pairs_of(part)


def test_no_text_is_in_both_parts_or_both_alike_and_different() -> None:
    seen, held_out = ({text for each in pairs_of(part) for text in (each.text_a, each.text_b)} for part in PARTS)
    labels = {(each.text_a, each.text_b): each.label for part in PARTS for each in pairs_of(part)}

    assert seen & held_out == set()
    assert len(labels) == sum(len(pairs_of(part)) for part in PARTS)
    assert len(labels) >= 1000


async def test_on_the_held_out_pairs_no_bound_is_broken_and_a_third_of_the_paraphrases_is_found() -> None:
    weighed = await semantic.weigh(read(FOLDER / "held_out.jsonl"))

    for bound in BOUNDS:
        found = semantic.outcome(weighed, lambda each, start=STARTS[bound]: each.sure >= start)
        negatives = found.pairs - found.positives
        assert found.false_hits <= bound * found.hits
        assert found.false_hits < 0.01 * negatives
        assert found.hits - found.false_hits >= found.positives / 3
    usual = semantic.outcome(weighed, lambda each: each.similarity >= semantic.USUAL_THRESHOLD)
    assert usual.false_hits > 0.4 * usual.hits


def test_pairs_with_a_text_in_common_are_in_one_fold() -> None:
    chain = [Pair(f"{n}", f"{n + 1}", label=True) for n in range(6)]
    others = [Pair(f"a{n}", f"b{n}", label=False) for n in range(20)]

    folds = semantic.folds_of([*chain, *others])

    assert len(set(folds[:6])) == 1
    assert set(folds) == set(range(semantic.FOLDS))


def test_the_script_reports_on_a_file_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(as_lines(pairs_of("seen")[:60]), encoding="utf-8")

    status = semantic.main([str(file)])
    report = capsys.readouterr().out

    assert status == 0
    assert "own.jsonl: 60 pairs" in report
    for name in ("similarity alone >= 0.80", "ours, 1%, calibrated", "ours, 2%, calibrated", "ours, 5%, calibrated"):
        assert name in report


def test_a_line_that_is_no_pair_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"text_a": "a", "text_b": "b", "label": 1}\n{"text_a": "a"}\n', encoding="utf-8")

    status = semantic.main([str(file)])

    assert status == 2
    assert "bad.jsonl:2 is no labelled pair" in capsys.readouterr().err
