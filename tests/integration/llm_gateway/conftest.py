"""An open database, and the store of budgets on it; a module that tests another store, or a twin too, has its own."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from tests.conftest import Run
from tests.servers import TestDatabase

from cognitionos.llm_gateway.infrastructure.budget_store import PostgresBudgetStore
from cognitionos.platform.database import Database


@pytest.fixture(scope="module")
def open_database(database: TestDatabase, run: Run) -> Iterator[Database]:
    opened = Database(database.app_url, pool_size=10)
    run(opened.open())
    yield opened
    run(opened.close())


@pytest.fixture
def store(open_database: Database) -> PostgresBudgetStore:
    return PostgresBudgetStore(open_database, owner=uuid4())
