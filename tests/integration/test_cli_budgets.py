"""Budgets and usage from the terminal, as a process against a real API."""

import json
import subprocess
from collections.abc import Iterator

import httpx
import psycopg
import pytest
from tests.api_process import api_process
from tests.conftest import Run, TestDatabase
from tests.edge import Caller, a_caller
from tests.stacks import clean_environment, command

from cognitionos.platform.config import Settings


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    with api_process(settings, {}) as found:
        yield found


@pytest.fixture(scope="module")
def caller(settings: Settings, run: Run) -> Caller:
    made: Caller = run(a_caller(settings, "terminal"))
    return made


def cognitionos(url: str, caller: Caller, *arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        command(*arguments, "--url", url, "--api-key", caller.key),
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + (done.stderr if status else "")


def test_a_budget_is_opened_spent_from_miscounted_and_set_right(
    url: str, caller: Caller, database: TestDatabase
) -> None:
    with httpx.Client(base_url=url, headers=caller.headers, timeout=30) as client:
        client.put("/v1/prices/simulated/m", json={"input_usd_per_million": "1", "output_usd_per_million": "2"})
        opened = cognitionos(url, caller, "budgets", "open", "user:ada", "5", "--period", "day", "--soft", "0.7")
        body = {"model": "simulated/m", "messages": [{"role": "user", "content": "hello"}], "user": "ada"}
        cost = client.post("/v1/chat/completions", json=body).headers["x-cognitionos-cost-usd"]
    right = cognitionos(url, caller, "budgets", "recount")
    with psycopg.connect(database.admin_url) as admin:
        admin.execute("UPDATE budgets SET spent_nanousd = spent_nanousd + 7 WHERE tenant_id = %s", [caller.tenant_id])

    wrong = cognitionos(url, caller, "budgets", "recount", status=1)
    corrected = json.loads(cognitionos(url, caller, "budgets", "recount", "--correct", "--json"))
    table = cognitionos(url, caller, "budgets", "list")
    [budget] = json.loads(cognitionos(url, caller, "budgets", "list", "--json"))["budgets"]
    gone = cognitionos(url, caller, "budgets", "remove", budget["id"])

    assert "user:ada: 5 USD left of 5" in opened
    assert right.strip() == "every counter is what the ledger says"
    assert f"by the ledger {cost}" in wrong
    assert "--correct sets them right" in wrong
    assert (corrected["corrected"], len(corrected["miscounts"])) == (True, 1)
    assert (budget["spent_usd"], budget["soft"]) == (cost, 0.7)
    assert table.splitlines()[0].split() == [
        "id",
        "subject",
        "period",
        "resets",
        "at",
        "limit",
        "spent",
        "held",
        "left",
    ]
    assert cost in table
    assert budget["id"] in gone
    assert "no limit was come near to" in cognitionos(url, caller, "budgets", "alerts")


def test_usage_is_summed_up_grouped_and_exported(url: str, caller: Caller) -> None:
    with httpx.Client(base_url=url, headers=caller.headers, timeout=30) as client:
        for user in ("bob", "eve", "eve"):
            body = {"model": "simulated/m", "messages": [{"role": "user", "content": "hi"}], "user": user}
            client.post("/v1/chat/completions", json=body).raise_for_status()

    table = cognitionos(url, caller, "usage", "--group-by", "user,model")
    one = json.loads(cognitionos(url, caller, "usage", "--group-by", "user", "--where", "user=eve", "--json"))
    lines = cognitionos(url, caller, "usage", "--csv", "--where", "user=eve", "--from", "2026-01-01").splitlines()
    nothing = cognitionos(url, caller, "usage", "--to", "2026-01-01")
    refused = cognitionos(url, caller, "usage", "--where", "colour=red", status=1)

    assert table.splitlines()[0].split()[:3] == ["user", "model", "calls"]
    assert any(line.split()[0] == "bob" for line in table.splitlines())
    assert (one["total_calls"], [group["key"] for group in one["groups"]]) == (2, ["eve"])
    assert (lines[0].split(",")[0], len(lines)) == ("call_id", 3)
    assert nothing.strip() == "nothing was used"
    assert "--where takes COLUMN=VALUE" in refused


def test_an_alert_is_shown_and_seen_once_with_who_and_why(url: str, caller: Caller) -> None:
    with httpx.Client(base_url=url, headers=caller.headers, timeout=30) as client:
        price = {"input_usd_per_million": "1", "output_usd_per_million": "2"}
        client.put("/v1/prices/simulated/m", json=price).raise_for_status()
        cognitionos(url, caller, "budgets", "open", "user:kay", "0.001", "--soft", "0.000001")
        body = {"model": "simulated/m", "messages": [{"role": "user", "content": "hi"}], "user": "kay", "max_tokens": 9}
        client.post("/v1/chat/completions", json=body).raise_for_status()
    [alert] = json.loads(cognitionos(url, caller, "budgets", "alerts", "--json"))["items"]

    before = cognitionos(url, caller, "budgets", "alerts")
    seen = cognitionos(url, caller, "budgets", "ack", alert["id"], "--note", "limit raised")
    again = json.loads(cognitionos(url, caller, "budgets", "ack", alert["id"], "--note", "too late", "--json"))
    after = cognitionos(url, caller, "budgets", "alerts")
    unknown = cognitionos(url, caller, "budgets", "ack", "00000000-0000-0000-0000-000000000000", status=1)
    misspelt = cognitionos(url, caller, "budgets", "ack", "no such alert", status=1)

    assert "user:kay (total)  soft: " in before
    assert "(not seen yet)" in before
    assert seen.strip() == f"{alert['id']} was seen by api_key:{caller.api_key_id}"
    assert (again["note"], again["acknowledged_by"]) == ("limit raised", f"api_key:{caller.api_key_id}")
    assert "(not seen yet)" not in after
    assert "alert" in unknown
    assert "no such alert" in misspelt or "not" in misspelt


def test_a_price_is_set_and_shown(url: str, caller: Caller) -> None:
    told = cognitionos(url, caller, "prices", "set", "openai/b-own", "--input", "0.5", "--output", "1.5")
    shown = cognitionos(url, caller, "prices", "show", "openai/b-own")
    listed = cognitionos(url, caller, "prices", "list")
    refused = cognitionos(url, caller, "prices", "set", "openai/b-own", "--input", "much", "--output", "1", status=1)

    assert "openai/b-own costs $0.5 and $1.5 per million tokens in and out (version 1)" in told
    assert "(by: own)" in shown
    assert "openai/b-own" in listed
    assert "input_usd_per_million" in refused
