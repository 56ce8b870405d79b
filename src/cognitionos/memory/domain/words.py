"""How a text becomes words to search by, the same for what is stored and what is asked.

PostgreSQL's `english` configuration then removes stop words and stems (Snowball). Its own parser is kept away from
the raw text: it takes `docs/suppliers.csv` for one word, so that 'suppliers' would not find it.
"""

import re
import unicodedata

LONGEST_WORD = 64

_ACCENTS = re.compile("[\u0300-\u036f]")
# Devanagari to Lao write vowels as marks, which `\\w` does not count as part of a word
_TOKEN = re.compile(r"\d+(?:[.,]\d+)+|(?:[^\W_]|[\u0900-\u0eff])+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")


def words_of(text: str) -> list[str]:
    """The words of `text` in order: case and accents folded, `camelCase` whole and in parts, Chinese and Japanese
    as overlapping pairs of characters (they write no spaces), decimals in one piece."""
    plain = unicodedata.normalize("NFKC", _ACCENTS.sub("", unicodedata.normalize("NFKD", text)))
    return [word[:LONGEST_WORD] for token in _TOKEN.findall(plain) for word in _spellings(token)]


def _spellings(token: str) -> list[str]:
    if _UNSPACED.search(token):
        return [word for run in re.split(f"({_UNSPACED.pattern})", token) if run for word in _pairs(run)]
    parts = _HUMP.split(token)
    whole = token.casefold()
    return [whole] if len(parts) == 1 else [whole, *(part.casefold() for part in parts)]


def _pairs(run: str) -> list[str]:
    if len(run) < 2 or not _UNSPACED.match(run):
        return [run.casefold()]
    return [run[at : at + 2] for at in range(len(run) - 1)]
