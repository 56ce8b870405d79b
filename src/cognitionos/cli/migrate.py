"""`cognitionos migrate`: bring the database's schema to the newest revision."""

import argparse

from cognitionos.cli.arguments import Commands, add_command
from cognitionos.cli.settings import read_settings

_REMEDY = "Set MIGRATION_DATABASE_URL (the owner role), or DATABASE_URL; 'cognitionos up' migrates by itself"


def register(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "migrate",
        does="Bring the database's schema up to date, as the owner role (MIGRATION_DATABASE_URL).",
        examples="""
            MIGRATION_DATABASE_URL=postgresql://cognitionos_owner:...@db/cognitionos cognitionos migrate
            cognitionos migrate --check     # status 1 when a migration is due; changes nothing
        """,
    )
    parser.add_argument("--check", action="store_true", help="only say whether the schema is up to date")
    parser.set_defaults(run=run, preload=preload)


def preload() -> None:
    """Import Alembic."""

    import cognitionos.platform.migrations  # noqa: F401


def run(args: argparse.Namespace) -> int:
    """Migrate, or only check; gives the exit status."""
    from cognitionos.platform import migrations
    from cognitionos.platform.database_url import require_database

    settings = read_settings()
    url = (settings.migration_database_url or settings.database_url).get_secret_value()
    require_database(url, remedy=_REMEDY)
    found, newest = migrations.current(url), migrations.head()
    if migrations.is_newer(found):
        print(f"the schema is at {found}, newer than {newest}, the newest that this version knows: nothing to do")
        return 0
    if found == newest:
        print(f"the schema is up to date ({newest})")
        return 0
    if args.check:
        print(f"the schema is at {found}, the newest is {newest}: run 'cognitionos migrate'")
        return 1
    migrations.upgrade(url)
    print(f"the schema is now at {newest}")
    return 0
