"""Alembic's entry: online only, one transaction per migration, as the owner role."""

from alembic import context
from sqlalchemy import create_engine, pool


def run() -> None:
    url = context.config.attributes["url"]
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
