"""The labelled pairs and the script that measures on them: what the documents say of both."""

import io
import json
import sys
from itertools import combinations
from pathlib import Path

import pytest
from tests.bench import semantic
from tests.bench.semantic_pairs import FOLDER, PARTS, Pair, as_lines, pairs_of, parse, read
from tests.bench.semantic_report import USUAL_THRESHOLD
from tests.bench.semantic_weigh import FOLDS, folds_of, outcome, weigh

from cognitionos.llm_gateway.domain.semantic_calibration import BOUNDS, STARTS

LINE = '{"text_a": "a", "text_b": "b", "label": 1}'


@pytest.mark.parametrize("part", PARTS)
def test_the_files_of_pairs_are_made_from_the_groups(part: str) -> None:
    written = (FOLDER / f"{part}.jsonl").read_text(encoding="utf-8")

    assert written == as_lines(pairs_of(part))
    assert read(FOLDER / f"{part}.jsonl") == pairs_of(part)


def test_no_text_is_in_both_parts_or_both_alike_and_different() -> None:
    texts = [{text for each in pairs_of(part) for text in (each.text_a, each.text_b)} for part in PARTS]
    labels = {(each.text_a, each.text_b): each.label for part in PARTS for each in pairs_of(part)}

    assert all(one & other == set() for one, other in combinations(texts, 2))
    assert len(labels) == sum(len(pairs_of(part)) for part in PARTS)
    assert len(labels) >= 1000


async def test_on_the_held_out_pairs_no_bound_is_broken_and_two_of_five_paraphrases_are_found() -> None:
    weighed = await weigh(read(FOLDER / "held_out.jsonl"))

    for bound in BOUNDS:
        found = outcome(weighed, lambda each, start=STARTS[bound]: each.sure >= start)
        negatives = found.pairs - found.positives
        assert found.false_hits <= bound * found.hits
        assert found.false_hits < 0.01 * negatives
        assert found.hits - found.false_hits >= 0.4 * found.positives
    usual = outcome(weighed, lambda each: each.similarity >= USUAL_THRESHOLD)
    assert usual.false_hits > 0.4 * usual.hits


@pytest.mark.parametrize("part", ["words_seen", "words_held_out"])
async def test_of_questions_that_differ_in_a_word_that_looks_alike_hardly_one_is_reused(part: str) -> None:
    weighed = await weigh(read(FOLDER / f"{part}.jsonl"))

    for bound in BOUNDS:
        found = outcome(weighed, lambda each, start=STARTS[bound]: each.sure >= start)
        assert found.false_hits < 0.01 * (found.pairs - found.positives)
        assert found.hits - found.false_hits >= 0.8 * found.positives
    usual = outcome(weighed, lambda each: each.similarity >= USUAL_THRESHOLD)
    assert usual.false_hits > 0.5 * usual.hits


def test_pairs_with_a_text_in_common_are_in_one_fold() -> None:
    chain = [Pair(f"{n}", f"{n + 1}", label=True) for n in range(6)]
    others = [Pair(f"a{n}", f"b{n}", label=False) for n in range(20)]

    folds = folds_of([*chain, *others])

    assert len(set(folds[:6])) == 1
    assert set(folds) == set(range(FOLDS))


def test_the_script_reports_on_a_file_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(as_lines(pairs_of("seen")[:60]), encoding="utf-8")

    status = semantic.main([str(file)])
    report = capsys.readouterr().out

    assert status == 0
    assert "own.jsonl: 60 pairs" in report
    for name in ("hit rate", "false-hit rate", "recall", "plain similarity, threshold 0.80"):
        assert name in report
    for bound in ("1%", "2%", "5%"):
        assert f"ours, error bound {bound} " in report
        assert f"ours, error bound {bound}, calibrated" in report


def test_the_report_is_to_be_had_as_json_and_the_pairs_from_the_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = pairs_of("held_out")
    monkeypatch.setattr(sys, "stdin", io.StringIO(as_lines(pairs)))

    status = semantic.main(["--json", "-"])
    (report,) = json.loads(capsys.readouterr().out)

    plain, ours = (next(each for each in report["rules"] if each["rule"] == name) for name in _NAMES)
    positives = sum(each.label for each in pairs)
    assert status == 0
    assert (report["pairs"], report["positives"]) == (len(pairs), positives)
    assert plain["false_hit_rate"] == pytest.approx(plain["false_hits"] / plain["hits"], abs=1e-6)
    assert ours["hit_rate"] == pytest.approx(ours["hits"] / len(pairs), abs=1e-6)
    assert ours["recall"] == pytest.approx((ours["hits"] - ours["false_hits"]) / positives, abs=1e-6)
    assert ours["false_of_negatives"] < 0.01 < plain["false_of_negatives"]


_NAMES = ("plain similarity, threshold 0.80", "ours, error bound 1%")


@pytest.mark.parametrize("label", ["1", "1.0", "true", '"1"', '"True"', '"true"'])
def test_a_label_may_be_written_in_any_usual_way(label: str) -> None:
    assert parse(LINE.replace("1", label), "it") == [Pair("a", "b", label=True)]


@pytest.mark.parametrize("label", ["0", "0.0", "false", '"0"', '"False"'])
def test_nor_is_a_no_taken_for_a_yes(label: str) -> None:
    assert parse(LINE.replace("1", label), "it") == [Pair("a", "b", label=False)]


@pytest.mark.parametrize("text", [f"{LINE}\r\n\r\n{LINE}\r\n", f"\ufeff{LINE}\n{LINE}", f"[{LINE},\n {LINE}]"])
def test_newlines_of_windows_a_byte_order_mark_and_an_array_do_no_harm(text: str, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_bytes(text.encode())

    assert read(file) == [Pair("a", "b", label=True)] * 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (f'{LINE}\n{{"text_a": "a"}}\n', "bad.jsonl:2 has no text_b and no label"),
        (f"{LINE}\n\n{LINE[:-1]}", "bad.jsonl:3 is no JSON"),
        (LINE.replace("1", "2"), "bad.jsonl:1: label is 0 or 1, not 2"),
        (LINE.replace("1", "null"), "bad.jsonl:1: label is 0 or 1, not None"),
        (LINE.replace('"a"', "7"), "bad.jsonl:1: text_a and text_b are strings"),
        ("5\n", "bad.jsonl:1 is no object"),
        (f"[{LINE}, 5]", "bad.jsonl, entry 2 is no object"),
        (f"[{LINE}", "bad.jsonl is no JSON array"),
        ("\n", "bad.jsonl holds no pairs"),
    ],
)
def test_what_is_no_pair_is_named_with_its_line(
    content: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(content, encoding="utf-8")

    status = semantic.main([str(file)])

    assert status == 2
    assert says in capsys.readouterr().err


def test_a_file_that_is_not_there_or_no_text_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")

    statuses = [semantic.main([str(tmp_path / name)]) for name in ("none", "binary")]
    said = capsys.readouterr().err

    assert statuses == [2, 2]
    assert "No such file" in said
    assert "no text in UTF-8" in said
