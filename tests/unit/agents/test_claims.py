"""What of an answer counts as said by its evidence, and what does not."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cognitionos.agents.domain.grounding import MOST_UNSUPPORTED, Check, check, check_of, told


def unsupported(answer: str, *evidence: str) -> list[str]:
    return [claim.text for claim in check(answer, evidence).unsupported]


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("It sold 1,200 units.", "units: 1200"),
        ("It sold 1.2 thousand units.", "units: 1,200"),
        ("It sold 1.200 units.", "units: 1200"),
        ("The share is 3 %.", "three percent"),
        ("The share is three percent.", "share 0.03"),
        ("It cost $18.5 million.", "18.5 million USD"),
        ("It cost 25 cents.", "€0.25"),
        ("It took half an hour.", "30 min"),
        ("It takes 0.64 seconds.", "640 ms"),
        ("It weighs 2,300 g.", "2.3 kg"),
        ("It lasts three years.", "a term of 36 months"),
        ("About 2,300 people came.", "2,311 people"),
        ("On average it is 12.5.", "mean 12.48"),
        ("It happened on 21 November 2026.", "2026-11-21"),
        ("It happened on November 21.", "21.11.2026"),
        ("It happened on 4/3/2026.", "3 April 2026"),
        ("It is open until 5 pm.", "until 17:00"),
        ("It starts at ten o'clock.", "10:00"),
        ("It fell on a Saturday.", "2026-11-21"),
        ("See https://example.org/docs.", "www.example.org/docs/"),
        ("He said \u201cwe will not ship it\u201d.", 'Leo: "We will not ship it!"'),
        ("The ESA agreed.", "European Space Agency: yes"),
        ("The report of Zo\u00eb Keller is here.", "Zoe Keller wrote the report"),
    ],
)
def test_one_thing_said_in_two_ways_is_the_same(said: str, known: str) -> None:
    assert unsupported(said, known) == []


@pytest.mark.parametrize(
    ("said", "known", "flagged"),
    [
        ("It sold 1,300 units.", "units: 1200", "1,300"),
        ("The share is 13 %.", "three percent", "13 %"),
        ("It took 60 minutes.", "60 seconds", "60 minutes"),
        ("It cost $40.", "\u20ac40", "$40"),
        ("It happened on 21 October 2026.", "2026-11-21", "21 October 2026"),
        ("It happened on 21 November 2025.", "2026-11-21", "21 November 2025"),
        ("It closes at 6 pm.", "until 17:00", "6 pm"),
        ("See https://example.org/doc.", "https://example.org/docs", "https://example.org/doc"),
        ("Write to help@a.example.", "web-help@a.example", "help@a.example"),
        ("See SUP-1190.", "SUP-1199", "SUP-1190"),
        ("It is in `config.py`.", "settings.py", "`config.py`"),
        ('He said "we will ship it tomorrow".', "Leo: we will not ship it", '"we will ship it tomorrow"'),
        ("It was Anna Keller.", "Anna Weber wrote it. It was read and checked by Maria Keller.", "Anna Keller"),
        ("The host is in Oslo.", "The host is in Bergen", "Oslo"),
        ("It runs Debian 11.", "Debian 12, 11 machines", "11"),
    ],
)
def test_what_is_said_otherwise_is_flagged_with_its_text(said: str, known: str, flagged: str) -> None:
    assert unsupported(said, known) == [flagged]


def test_a_claim_is_flagged_at_its_place() -> None:
    answer = "Bolts cost 7 euros. They ship from Oslo."

    [claim] = check(answer, ["Bolts: 7 EUR"]).unsupported

    assert (claim.kind, answer[claim.start : claim.end]) == ("name", "Oslo")


@pytest.mark.parametrize(
    "answer",
    [
        "Together they cost 45 euros.",
        "The difference is 5 euros.",
        "On average one costs 22.50 euros.",
        "The second is 25 percent dearer than the first.",
        "There are two products.",
    ],
)
def test_what_follows_by_simple_arithmetic_is_not_flagged(answer: str) -> None:
    assert unsupported(answer, '[{"name": "a", "price_eur": 20}, {"name": "b", "price_eur": 25}]') == []


def test_a_number_follows_only_where_the_sentence_speaks_of_it() -> None:
    known = "Line A made 1,480 parts, line B made 1,310 and line C made 900."

    assert unsupported("Together lines A and B made 2,790 parts.", known) == []
    assert unsupported("The best line made 2,790 parts.", known) == ["2,790"]


@pytest.mark.parametrize(
    "answer",
    [
        "1. Begin with a sentence.\n2. Show an example.\n3. Name the licence.",
        "## Summary of the Findings\n\n**Next Steps:** read it again.",
        "```python\nretries = 99\n```\nThat is the code.",
        "A good text answers two questions, however long it is.",
        "Overall this looks good. Shipping is free of charge.",
        "In any case I'm glad, and I'll say that It's good.",
    ],
)
def test_structure_code_and_plain_words_claim_nothing(answer: str) -> None:
    assert unsupported(answer, "Give me some advice.") == []


def test_names_are_not_looked_for_where_other_languages_write_capitals() -> None:
    assert unsupported("Der Hund ist in dem Garten und die Katze auf der Mauer.", "nichts") == []


def test_json_within_json_is_read() -> None:
    known = '{"status": 200, "body": "{\\"rate\\": 600, \\"city\\": \\"K\\u00f6ln\\"}"}'

    assert unsupported("The rate is 600 in K\u00f6ln, not in Bonn.", known) == ["Bonn"]


def test_what_was_found_is_the_same_after_it_was_stored() -> None:
    found = check("Oslo has 3 % more. See x.py.", ["nothing"])

    assert found.unsupported
    assert check_of(told(found)) == found


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.lists(st.text(max_size=200), max_size=3))
def test_any_text_can_be_checked(answer: str, evidence: list[str]) -> None:
    found = check(answer, evidence)

    assert isinstance(found, Check)
    assert all(answer[claim.start : claim.end].startswith(claim.text) for claim in found.unsupported)
    assert check(answer, evidence) == found


@pytest.mark.parametrize("piece", ["1-", "a.", "a/", "Aa ", "1 May ", '"a b c d ', "1, ", "- a\n", "a@", "["])
def test_a_long_answer_of_one_kind_is_read_in_seconds_of_cpu(piece: str) -> None:
    started = time.process_time()

    found = check(piece * 2_500, [piece * 10_000])

    assert time.process_time() - started < 10
    assert len(found.unsupported) <= MOST_UNSUPPORTED
