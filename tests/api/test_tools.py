"""A tenant's tools: MCP servers that are real processes, databases, rules, and agents that use them."""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from litestar import Litestar
from tests import mcp_peer
from tests.conftest import Run
from tests.edge import Caller, a_caller, client_of, running_app
from tests.fakes.agents_bench import Bench, an_assignment
from tests.fakes.agents_gateway import calls, says
from tests.servers import TestDatabase, database_name
from tests.sql_door import PASSWORD, a_door, a_shop

from cognitionos.agents.infrastructure.mcp_servers import McpServers
from cognitionos.agents.infrastructure.tool_kit import Kits
from cognitionos.composition import agents as agents_wiring
from cognitionos.composition import base as platform
from cognitionos.platform.config import Settings

PEER = str(Path(mcp_peer.__file__))
ROLE = f"reader_{uuid4().hex[:8]}"


class Tenant:
    """A tenant at the API, and its agents."""

    def __init__(self, client: httpx.AsyncClient, caller: Caller, kits: Kits) -> None:
        self.client, self.caller, self.kits = client, caller, kits

    async def peer(self, name: str, **changes: Any) -> dict[str, Any]:
        """Have the server as a process, its tools open to agents."""
        body = {"name": name, "transport": "stdio", "command": sys.executable, "args": [PEER, "stdio"], **changes}
        made = await self.client.post("/v1/tools/servers", json=body)
        assert made.status_code == 201, made.text
        await self.allow(f"{name}.*")
        answer: dict[str, Any] = made.json()
        return answer

    async def allow(self, tool: str, **rule: Any) -> None:
        set_ = await self.client.put(f"/v1/tools/rules/{tool}", json={"allowed": True, **rule})
        assert set_.status_code == 200, set_.text

    async def asks(self, *wanted: tuple[str, dict[str, Any]]) -> list[str]:
        """What an agent is told when its model calls these tools, one after the other."""
        bench = Bench.of(*(calls(each) for each in wanted), says("done"), kit_of=self.kits.of)
        await bench.agents.perform(an_assignment(tenant_id=self.caller.tenant_id, deadline_s=60.0))
        told = [message["content"] for message in bench.gateway.requests[-1].messages if message["role"] == "tool"]
        self.last = bench
        return told


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


@pytest.fixture(scope="module")
def door(database: TestDatabase, run: Run) -> Iterator[int]:
    stack = AsyncExitStack()
    stack.enter_context(a_shop(database, ROLE))
    yield run(stack.enter_async_context(a_door(database)))
    run(stack.aclose())


@pytest.fixture(scope="module")
def open_settings(settings: Settings, port: int, door: int) -> Settings:
    allowed = (f"127.0.0.1:{port}", f"127.0.0.1:{door}")
    return settings.model_copy(update={"mcp_stdio": True, "tool_allow": allowed, "rate_limit_per_minute": 100_000})


@pytest.fixture(scope="module")
def app(open_settings: Settings, run: Run) -> Iterator[Litestar]:
    stack = AsyncExitStack()
    yield run(stack.enter_async_context(running_app(open_settings)))
    run(stack.aclose())


@pytest.fixture(scope="module")
def kits(open_settings: Settings, run: Run) -> Iterator[Kits]:
    base = platform.build(open_settings)
    run(base.database.open())
    made, _ = agents_wiring.kits(base)
    yield made
    run(made.servers.close())
    run(base.database.close())
    run(base.redis.aclose())


@pytest.fixture(scope="module")
def tenant(app: Litestar, open_settings: Settings, kits: Kits, run: Run) -> Tenant:
    caller = run(a_caller(open_settings, "tools"))
    return Tenant(client_of(app, caller), caller, kits)


@pytest.fixture(scope="module")
def peer(tenant: Tenant, run: Run) -> dict[str, Any]:
    """A server of the tenant's that is a process: `first`."""
    made: dict[str, Any] = run(tenant.peer("first"))
    return made


async def test_the_tools_of_a_process_are_found_and_used(tenant: Tenant, peer: dict[str, Any]) -> None:
    told = await tenant.asks(
        ("first__add", {"pair": {"a": 20, "b": 22}}), ("first__order", {"item": "ink", "amount": 2})
    )

    assert peer["error"] is None
    assert {"first.add", "first.order", "first.crash"} <= set(peer["tools"])
    assert told == ['{"result": {"total": 42}}', '{"result": {"result": "ordered 2 ink, order 1"}}']
    assert "first__add" in tenant.last.gateway.requests[0].offered_tools


async def test_arguments_are_checked_before_the_server_sees_them(tenant: Tenant, peer: dict[str, Any]) -> None:
    told = await tenant.asks(("first__add", {"pair": {"a": "one"}}))

    assert "pair.b is missing" in told[0]
    assert "pair.a must be of type integer" in told[0]


async def test_a_process_gets_its_secret_and_nothing_of_ours_until_it_is_changed_or_taken_away(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_MARKER", "ours")
    made = await tenant.peer("secretive", env={mcp_peer.SECRET: "s3cret"})
    first = await tenant.asks(("secretive__environment", {}))
    await tenant.peer("secretive", env={mcp_peer.SECRET: "an0ther"})
    second = await tenant.asks(("secretive__environment", {}))
    listed = (await tenant.client.get("/v1/tools/servers")).text
    await tenant.client.delete("/v1/tools/servers/secretive")
    third = await tenant.asks(("secretive__environment", {}))

    assert "s3cret False False" in first[0]
    assert "an0ther False False" in second[0]
    assert "There is no tool" in third[0]
    assert made["secrets"] == [mcp_peer.SECRET]
    assert "s3cret" not in listed
    assert (await tenant.client.get("/v1/tools/servers/secretive")).status_code == 404


async def test_a_tool_s_failure_is_told_to_the_model(tenant: Tenant, peer: dict[str, Any]) -> None:
    told = await tenant.asks(("first__fail", {}))

    assert told == ['{"error": "Error executing tool fail"}']


async def test_a_server_that_crashes_is_an_error_and_is_started_again(tenant: Tenant, peer: dict[str, Any]) -> None:
    told = await tenant.asks(("first__crash", {}), ("first__add", {"pair": {"a": 1, "b": 1}}))

    assert "went away" in told[0]
    assert told[1] == '{"result": {"total": 2}}'


async def test_a_process_that_dies_is_told_with_its_last_words_but_not_its_secrets(tenant: Tenant) -> None:
    await tenant.peer("dying", env={mcp_peer.SECRET: "s3cret"})
    told = await tenant.asks(("dying__crash", {}))
    stillborn = {"transport": "stdio", "command": sys.executable, "args": ["-c", "import sys; sys.exit('no ledger')"]}
    made = await tenant.client.post("/v1/tools/servers", json={"name": "stillborn", **stillborn})

    assert "its last words: Traceback: | no ink left for ***" in told[0]
    assert made.json()["error"].endswith("; its last words: no ledger")


async def test_a_server_that_hangs_runs_into_its_deadline_and_holds_up_no_other(
    tenant: Tenant, peer: dict[str, Any]
) -> None:
    await tenant.peer("slow", timeout_s=0.5)
    started = time.monotonic()

    told = await tenant.asks(("slow__hang", {}), ("first__add", {"pair": {"a": 1, "b": 1}}))

    assert "did not answer in time" in told[0]
    assert told[1] == '{"result": {"total": 2}}'
    assert time.monotonic() - started < 20


async def test_a_long_answer_is_clipped(tenant: Tenant, peer: dict[str, Any]) -> None:
    told = await tenant.asks(("first__flood", {"characters": 1_000_000}))

    assert len(told[0]) < 14_000
    assert "left out" in told[0]


async def test_a_server_over_http_is_used_and_reconnected_to(tenant: Tenant, port: int) -> None:
    with mcp_peer.running_peer(port) as url:
        made = await tenant.client.post("/v1/tools/servers", json={"name": "remote", "url": url})
        await tenant.allow("remote.add")
        before = await tenant.asks(("remote__add", {"pair": {"a": 1, "b": 2}}), ("remote__order", {}))
    gone = await tenant.asks(("remote__add", {"pair": {"a": 1, "b": 2}}))
    place = tenant.kits.servers._places[tenant.caller.tenant_id, "remote"]
    place.not_before = 0.0
    with mcp_peer.running_peer(port):
        after = await tenant.asks(("remote__add", {"pair": {"a": 1, "b": 2}}))

    assert made.json()["error"] is None
    assert before[0] == after[0] == '{"result": {"total": 3}}'
    assert "There is no tool" in before[1]
    assert "remote" in gone[0]
    assert "error" in gone[0]


async def test_a_flood_over_http_is_cut_off(tenant: Tenant, port: int) -> None:
    with mcp_peer.running_peer(port) as url:
        await tenant.client.post("/v1/tools/servers", json={"name": "flooding", "url": url})
        await tenant.allow("flooding.*")
        told = await tenant.asks(("flooding__flood", {"characters": 20_000_000}))

    assert "error" in told[0]


async def test_a_server_that_cannot_be_reached_is_kept_with_the_reason(tenant: Tenant) -> None:
    made = await tenant.client.post(
        "/v1/tools/servers", json={"name": "absent", "transport": "stdio", "command": "/nowhere/at/all"}
    )

    assert made.status_code == 201
    assert "cannot be reached" in made.json()["error"]
    assert (await tenant.client.post("/v1/tools/servers/absent/refresh")).json()["tools"] == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/mcp",
        "http://localhost/mcp",
        "http://169.254.169.254/latest",
        "http://[::1]/mcp",
        "http://[::ffff:127.0.0.1]/mcp",
        "http://2130706433/mcp",
        "http://0x7f.1/mcp",
        "http://user:pass@127.0.0.1/mcp",
        "file:///etc/passwd",
    ],
)
async def test_a_server_inside_is_refused(tenant: Tenant, url: str) -> None:
    refused = await tenant.client.post("/v1/tools/servers", json={"name": "inside", "url": url})

    assert refused.status_code in {403, 422}, refused.text


@pytest.mark.parametrize(
    "body",
    [
        {"name": "sql", "transport": "stdio", "command": "x"},
        {"name": "Bad Name", "transport": "stdio", "command": "x"},
        {"name": "x", "transport": "stdio", "command": "x", "env": {"LD_PRELOAD": "/x.so"}},
        {"name": "x", "transport": "stdio", "command": "x", "url": "https://example.com"},
        {"name": "x", "url": "https://example.com/", "headers": {"Host": "other"}},
        {"name": "x", "url": "https://example.com/", "headers": {"a": "b\r\nc: d"}},
        {"name": "x"},
    ],
)
async def test_a_wrong_server_is_refused_with_the_field(tenant: Tenant, body: dict[str, Any]) -> None:
    refused = await tenant.client.post("/v1/tools/servers", json=body)

    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"]


async def test_processes_are_the_operator_s_to_allow(app: Litestar, settings: Settings, run: Run) -> None:
    async with running_app(settings) as closed:
        caller = await a_caller(settings, "closed")
        body = {"name": "x", "transport": "stdio", "command": sys.executable}
        refused = await client_of(closed, caller).post("/v1/tools/servers", json=body)

    assert refused.status_code == 403
    assert "COGNITIONOS_MCP_STDIO" in refused.json()["detail"]


async def test_a_connection_that_nobody_uses_is_closed(tenant: Tenant, kits: Kits, peer: dict[str, Any]) -> None:
    clock = [0.0]
    servers = McpServers(
        store=kits.store,
        sealing_key=kits.servers.sealing_key,
        allowed=kits.servers.allowed,
        is_stdio_allowed=True,
        monotonic=lambda: clock[0],
    )
    patient = Tenant(tenant.client, tenant.caller, Kits(store=kits.store, servers=servers, databases=kits.databases))
    await patient.asks(("first__add", {"pair": {"a": 1, "b": 1}}))
    idle = servers._places[tenant.caller.tenant_id, "first"].connection
    clock[0] = 10_000.0

    await patient.asks(("slow__add", {"pair": {"a": 1, "b": 1}}))

    assert idle is not None
    assert not idle.is_live
    await servers.close()
    assert servers._places == {}


async def test_another_tenant_sees_and_uses_nothing_of_it(
    app: Litestar, peer: dict[str, Any], open_settings: Settings, kits: Kits
) -> None:
    caller = await a_caller(open_settings, "stranger")
    stranger = Tenant(client_of(app, caller), caller, kits)
    opened = await stranger.client.put("/v1/tools/rules/first.*", json={"allowed": True})

    told = await stranger.asks(("first__add", {"pair": {"a": 1, "b": 1}}))

    assert "There is no tool" in told[0]
    assert opened.status_code == 422
    assert (await stranger.client.get("/v1/tools/servers")).json() == {"servers": []}


async def test_a_database_is_asked_once_a_rule_opens_it(tenant: Tenant, database: TestDatabase, door: int) -> None:
    url = f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{door}/{database_name(database)}"
    made = await tenant.client.post("/v1/tools/databases", json={"name": "shop", "url": url, "description": "Orders."})
    question = ("sql__shop", {"sql": "SELECT count(*) AS n FROM shop.orders"})
    closed = await tenant.asks(question)
    await tenant.allow("sql.shop")

    told = await tenant.asks(
        question, ("sql_schema__shop", {"table": "orders"}), ("sql__shop", {"sql": "DROP TABLE x"})
    )

    assert made.status_code == 201, made.text
    assert PASSWORD not in made.text + (await tenant.client.get("/v1/tools/databases")).text
    assert "There is no tool" in closed[0]
    assert told[0] == '{"rows": [{"n": 300}], "count": 1, "is_whole": true}'
    assert "customer text" in told[1]
    assert "Only SELECT" in told[2]
    with psycopg.connect(database.admin_url) as connection:
        stored = connection.execute("SELECT sealed FROM tool_databases").fetchone()
    assert stored is not None
    assert PASSWORD.encode() not in stored[0]


async def test_a_database_that_does_not_let_us_in_is_not_kept(
    tenant: Tenant, database: TestDatabase, door: int
) -> None:
    url = f"postgresql://nobody_at_all:x@127.0.0.1:{door}/{database_name(database)}"

    refused = await tenant.client.post("/v1/tools/databases", json={"name": "wrong", "url": url})

    assert refused.status_code == 503, refused.text
    assert (await tenant.client.get("/v1/tools/databases/wrong")).status_code == 404


async def test_a_database_that_works_stays_when_its_replacement_does_not_let_us_in(
    tenant: Tenant, database: TestDatabase, door: int
) -> None:
    url = f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{door}/{database_name(database)}"
    made = await tenant.client.post("/v1/tools/databases", json={"name": "kept", "url": url, "description": "Orders."})
    wrong = url.replace(ROLE, "nobody_at_all")

    refused = await tenant.client.post("/v1/tools/databases", json={"name": "kept", "url": wrong})

    assert (made.status_code, refused.status_code) == (201, 503), refused.text
    assert (await tenant.client.get("/v1/tools/databases/kept")).json() == made.json()


async def test_a_database_without_an_encoding_is_told_what_its_account_may_not_hold(
    tenant: Tenant, database: TestDatabase, door: int
) -> None:
    name = f"ascii_{uuid4().hex[:8]}"
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
        connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C'"
        )
        try:
            url = f"postgresql://{name}:{PASSWORD}@127.0.0.1:{door}/{name}"
            refused = await tenant.client.post("/v1/tools/databases", json={"name": "ascii", "url": url})
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            connection.execute(f"DROP ROLE {name}")

    assert refused.status_code < 500, refused.text
    assert f"'{name}' has CREATEROLE" in refused.json()["detail"]


async def test_rules_are_set_listed_and_deleted(tenant: Tenant) -> None:
    await tenant.peer("bank")
    rule = {
        "allowed": True,
        "approval": "when",
        "conditions": [{"path": "amount", "op": ">", "value": 100}],
        "deadline_s": 60,
        "default": "fail",
        "roles": ["executor"],
    }
    made = await tenant.client.put("/v1/tools/rules/bank.order", json=rule)
    listed = (await tenant.client.get("/v1/tools/rules")).json()["rules"]

    assert {key: made.json()[key] for key in rule} == rule
    assert made.json() in listed
    assert (await tenant.client.delete("/v1/tools/rules/bank.order")).status_code == 204
    assert (await tenant.client.delete("/v1/tools/rules/bank.order")).status_code == 404
    wrong = await tenant.client.put("/v1/tools/rules/bank.order", json={"allowed": True, "approval": "when"})
    assert wrong.status_code == 422


async def test_a_rule_is_for_a_tool_there_is_by_the_name_of_models_too(tenant: Tenant) -> None:
    await tenant.peer("till")

    made = await tenant.client.put("/v1/tools/rules/till__order", json={"allowed": True, "approval": "always"})
    wrong = [
        await tenant.client.put(f"/v1/tools/rules/{name}", json={"allowed": True})
        for name in ("no_such_tool", "till.nothing", "nobody.*")
    ]
    gone = await tenant.client.delete("/v1/tools/rules/till__order")

    assert (made.status_code, made.json()["tool"], gone.status_code) == (200, "till.order", 204), made.text
    assert [each.status_code for each in wrong] == [422, 422, 422]
    assert "http_request" in wrong[0].text
    assert "till.order" in wrong[1].text


async def test_a_rule_may_be_set_while_its_server_is_down(tenant: Tenant) -> None:
    down = {"name": "closed", "transport": "stdio", "command": "/nonexistent", "args": []}
    made = await tenant.client.post("/v1/tools/servers", json=down)
    assert made.json()["error"], made.text

    ruled = [
        (await tenant.client.put(f"/v1/tools/rules/{name}", json={"allowed": True})).json()["tool"]
        for name in ("closed.pay", "closed__pay", "closed.*")
    ]

    assert ruled == ["closed.pay", "closed.pay", "closed.*"]


async def test_the_list_of_tools_says_what_may_be_used(tenant: Tenant) -> None:
    await tenant.client.put("/v1/tools/rules/python", json={"allowed": False})
    tools = {each["name"]: each for each in (await tenant.client.get("/v1/tools")).json()["tools"]}
    await tenant.client.delete("/v1/tools/rules/python")

    assert tools["recall"]["usable"]
    assert not tools["python"]["usable"]
    assert tools["http_request"]["access"] == "open"
    assert tools["http_request"]["unavailable"] is not None


async def test_only_a_key_with_the_scope_may_set_tools(app: Litestar, open_settings: Settings) -> None:
    from cognitionos.kernel.principal import Permission

    caller = await a_caller(open_settings, "reader", scopes=frozenset({Permission.AGENTS_READ}))
    client = client_of(app, caller)

    assert (await client.get("/v1/tools")).status_code == 200
    assert (await client.get("/v1/tools/servers")).status_code == 403
    assert (await client.put("/v1/tools/rules/python", json={"allowed": True})).status_code == 403
