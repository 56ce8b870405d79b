"""The labelled answers, and the rate that the documents state."""

from pathlib import Path

import pytest
from tests.bench import grounding
from tests.bench.grounding import FOLDER, PARTS, judge, rates, read


def test_on_held_out_answers_nine_in_ten_planted_falsehoods_are_flagged() -> None:
    made = rates(judge(read(FOLDER / "held_out.jsonl")))

    assert made.answers == 64
    assert made.planted > 100
    assert made.recall >= 0.93
    assert made.precision >= 0.85
    assert made.alarms_per_answer <= 0.4


def test_what_is_beyond_it_is_stated_and_flagged_by_nothing() -> None:
    made = rates(judge(read(FOLDER / "beyond.jsonl")))

    assert (made.planted, made.flags) == (12, 0)


def test_no_answer_is_in_two_parts() -> None:
    answers = [case.answer for part in PARTS for case in read(FOLDER / f"{part}.jsonl")]
    evidence = [{case.evidence for case in read(FOLDER / f"{part}.jsonl")} for part in PARTS]

    assert len(set(answers)) == len(answers) == 140
    assert not evidence[0] & evidence[1]


def test_the_script_reports_on_a_file_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text('{"evidence": ["It costs 5 EUR."], "answer": "It costs 6 EUR.", "false_claims": ["6 EUR"]}\n')

    assert grounding.main([str(file)]) == 0
    assert "100.0 %" in capsys.readouterr().out


def test_a_line_that_is_no_labelled_answer_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"evidence": [], "answer": "a", "false_claims": ["b"]}\n')

    assert grounding.main([str(file)]) == 2
    assert "bad.jsonl:1 is no labelled answer" in capsys.readouterr().err
