"""A budget of the caller's key, and what it says of itself."""

from decimal import Decimal

import httpx
from tests.edge import Caller


async def budget(client: httpx.AsyncClient, caller: Caller, limit_usd: str) -> None:
    """One that never starts anew."""
    body = {"subject": f"api_key:{caller.api_key_id}", "limit_usd": limit_usd, "period": "total"}
    (await client.post("/v1/budgets", json=body)).raise_for_status()


async def state(client: httpx.AsyncClient) -> tuple[Decimal, Decimal]:
    """What is spent and what is held of the only budget, in dollars."""
    (only,) = (await client.get("/v1/budgets")).json()["budgets"]
    return Decimal(only["spent_usd"]), Decimal(only["held_usd"])
