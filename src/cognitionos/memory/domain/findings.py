"""What a finished goal leaves behind, without asking a model: its summary, and its sentences with figures or names.

Kept few on purpose: memories written without choice drown the useful ones.
"""

import re

MOST_FINDINGS = 8
SHORTEST, LONGEST = 20, 400
SUMMARY_CHARACTERS = 4000

_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_BULLET = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+")
_MARKUP = re.compile(r"(?<!\w)[*_`>]+(?=\S)|(?<=\S)[*_`]+(?!\w)")  # snake_case and 2*3 stay
_TABLE_ROW = re.compile(r"^\s*\|.*\|\s*$")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'(])")
_FIGURE = re.compile(r"\d")
_NAME = re.compile(r"(?<=[a-z,;:] )[A-Z][\w&-]*[a-z]|\b[A-Z]{2,}\b")


def summary_of(statement: str, result: str) -> str:
    """One text of goal and result; a long result is cut and says so."""
    text = result.strip()
    if len(text) > SUMMARY_CHARACTERS:
        text = text[:SUMMARY_CHARACTERS].rstrip() + " […]"
    return f"Goal: {statement.strip()[:SUMMARY_CHARACTERS]}\nResult: {text}"


def findings_in(result: str) -> list[str]:
    """The bullets and sentences of `result` with a figure or a proper name in them: each once, in order, 8 at most.

    Those with figures are preferred when there are more. Code blocks, headings and table rows are left out.
    """
    found = list(dict.fromkeys(sentence for line in _lines(result) for sentence in _SENTENCE_END.split(line)))
    fit = [each for each in found if SHORTEST <= len(each) <= LONGEST and not each.endswith((":", "?"))]
    figures = [each for each in fit if _FIGURE.search(each)]
    names = [each for each in fit if not _FIGURE.search(each) and _NAME.search(each)]
    chosen = set([*figures, *names][:MOST_FINDINGS])
    return [each for each in fit if each in chosen]


def _lines(result: str) -> list[str]:
    """Paragraphs and bullets as one line each, without Markdown."""
    lines: list[str] = []
    joins = False
    for raw in _FENCE.sub("\n", result).splitlines():
        if not raw.strip() or raw.lstrip().startswith("#") or _TABLE_ROW.match(raw):
            joins = False
            continue
        text = _MARKUP.sub("", _BULLET.sub("", raw)).strip()
        if joins and not _BULLET.match(raw):
            lines[-1] = f"{lines[-1]} {text}"
        else:
            lines.append(text)
        joins = True
    return lines
