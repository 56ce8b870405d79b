"""What of a query can be judged before it is sent. The database has the last word: see `sql_tool.py`.

The account's privileges are the real fence. This one keeps a model from calling what a read-only transaction does not
stop: functions with effects (dblink, pg_sleep, set_config, advisory locks, pg_terminate_backend, ...), all of which
PostgreSQL itself lists as volatile.
"""

import re

from cognitionos.kernel.errors import Invalid

MOST_CHARACTERS = 20_000
# Volatile in the catalogue and harmless all the same.
HARMLESS = (
    "random", "random_normal", "gen_random_uuid", "uuidv4", "uuidv7", "uuid_generate_v4", "clock_timestamp",
    "timeofday", "pg_column_size", "currval", "lastval", "pg_typeof",
)  # fmt: skip
_CALLED = re.compile(r"([^\W\d][\w$]*|\"(?:[^\"]|\"\")+\")(?:\s|--[^\n]*\n)*\(")
_STARTS = re.compile(r"(?:\s|\(|--[^\n]*\n)*(select|with|values|table)\b", re.IGNORECASE)


class QueryRefused(Invalid):
    """It is not a single query that only reads, or it calls a function with effects."""


def prepared(sql: str) -> str:
    """The query to be put into a cursor, without its last semicolon. Raises `QueryRefused`."""
    text = sql.replace("\r", "\n").strip().rstrip(";").rstrip()
    if not text or len(text) > MOST_CHARACTERS:
        raise QueryRefused(f"A query has 1 to {MOST_CHARACTERS} characters.")
    if "\x00" in text:
        raise QueryRefused("A query has no NUL characters.")
    if not _STARTS.match(text):
        raise QueryRefused("Only SELECT, WITH, VALUES and TABLE are run here.")
    if "/*" in text or re.search(r"\bu&[\"']", text, re.IGNORECASE):
        raise QueryRefused("Write it without /* comments and without U& texts.")
    return text


def called_names(sql: str) -> list[str]:
    """Every name that stands before a parenthesis, in a text or a comment too, as the catalogue would spell it."""
    found = (match.group(1) for match in _CALLED.finditer(sql))
    return sorted({name[1:-1].replace('""', '"') if name.startswith('"') else name.lower() for name in found})
