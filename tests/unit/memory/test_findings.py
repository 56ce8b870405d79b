"""What a result leaves behind."""

from hypothesis import given
from hypothesis import strategies as st

from cognitionos.memory.domain.findings import LONGEST, MOST_FINDINGS, findings_in, summary_of

REPORT = """# Recommendation

We recommend **Nordwind** for the next year. It is a good choice.

- Nordwind costs 12,400 EUR a year
  and delivers in 3 days.
- Why not the others?
- They are slower.

| supplier | price |
| --- | --- |
| Nordwind | 12,400 |

```python
total = 12_400 * 3  # this is code, not knowledge
```
The contract of Südstahl ends in March.
"""


def test_sentences_with_figures_or_names_are_kept_and_the_rest_is_not() -> None:
    assert findings_in(REPORT) == [
        "We recommend Nordwind for the next year.",
        "Nordwind costs 12,400 EUR a year and delivers in 3 days.",
        "The contract of Südstahl ends in March.",
    ]


def test_when_there_are_many_those_with_figures_win_in_their_order() -> None:
    names = "\n".join(f"- it was agreed with Mister {name}" for name in ("Alder", "Birch", "Cedar", "Elder"))
    figures = "\n".join(f"- item {n} was counted {n} times" for n in range(7))

    found = findings_in(f"{names}\n{figures}")

    assert len(found) == MOST_FINDINGS
    assert found == ["it was agreed with Mister Alder", *(f"item {n} was counted {n} times" for n in range(7))]


def test_a_summary_has_goal_and_result() -> None:
    assert summary_of(" Compare them ", "Take A.\n") == "Goal: Compare them\nResult: Take A."


def test_a_long_result_is_cut_and_the_summary_says_so() -> None:
    summary = summary_of("Compare them", "x" * 5000)

    assert len(summary) < 4100
    assert summary.endswith("[…]")


@given(st.text(max_size=1000))
def test_findings_are_few_short_and_each_once(text: str) -> None:
    found = findings_in(text)

    assert len(found) == len(set(found)) <= MOST_FINDINGS
    assert all(len(each) <= LONGEST for each in found)


def test_markdown_goes_and_the_underscores_and_stars_of_names_and_figures_stay() -> None:
    found = findings_in("Set **OPENAI_API_KEY** to `sk_1` so that _both_ of the 3*4 workers can start.")

    assert found == ["Set OPENAI_API_KEY to sk_1 so that both of the 3*4 workers can start."]
