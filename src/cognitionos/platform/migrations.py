"""Schema changes: Alembic, run by the owner role (`MIGRATION_DATABASE_URL`)."""

import re
from functools import cache
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parents[3]
_REVISIONS = re.compile(r'^revision = "(\w+)"\ndown_revision = (?:"(\w+)"|None)$', re.MULTILINE)
_LOCK_KEY = 0x636F676E  # 'cogn': one migration at a time on one database


def sqlalchemy_url(url: str) -> str:
    """The same URL for SQLAlchemy with the psycopg 3 driver."""
    scheme, rest = url.split("://", 1)
    return f"postgresql+psycopg://{rest}" if scheme in {"postgresql", "postgres"} else url


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at `url` (owner role) to `revision`. Waits for another migration that is under way."""
    _run("upgrade", url, revision)


def downgrade(url: str, revision: str) -> None:
    """Take the database at `url` (owner role) back to `revision`."""
    _run("downgrade", url, revision)


def head() -> str:
    """The revision in the checkout that no other follows (no import of Alembic)."""
    found = _revisions()
    (newest,) = found.keys() - found.values()
    return newest


def is_newer(revision: str | None) -> bool:
    """Whether only a later version of the product can have made this revision: this one does not know it."""
    return revision is not None and revision not in _revisions()


def is_enough(revision: str | None) -> bool:
    """Whether a schema at `revision` has all that this version needs: the newest it knows, or one made later."""
    return revision == head() or is_newer(revision)


def current(url: str) -> str | None:
    """The revision the database at `url` is at; None when it was never migrated."""
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.execute("SELECT to_regclass('public.alembic_version')").fetchone() == (None,):
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return row[0] if row else None


def is_current(url: str) -> bool:
    """Whether the database at `url` is at the newest revision that this version knows, or at a newer one."""
    return is_enough(current(url))


@cache
def _revisions() -> dict[str, str]:
    """Every revision in the checkout with the one before it."""
    files = (ROOT / "migrations" / "versions").glob("[0-9]*.py")
    return dict(_REVISIONS.findall(path.read_text(encoding="utf-8"))[0] for path in files)


def _run(direction: str, url: str, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(str(ROOT / "alembic.ini"))
    config.attributes["url"] = sqlalchemy_url(url)
    with psycopg.connect(url, autocommit=True) as guard:
        guard.execute("SELECT pg_advisory_lock(%s)", (_LOCK_KEY,))
        getattr(command, direction)(config, revision)
