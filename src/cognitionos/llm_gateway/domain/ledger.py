"""The ledger row of one call: append-only, the source of every sum of money."""

from uuid import UUID

from cognitionos.kernel.value import value
from cognitionos.llm_gateway.domain.chat import Caller, Usage

CHAT = "chat"
EMBEDDING = "embedding"


@value
class Call:
    """What one call asked, used, cost and took. `outcome`: ok, error, aborted (the client went away), lost.

    `priced` False: nobody knows what it cost, and `cost_nanousd` says nothing. Unknown is not zero.
    """

    call_id: UUID
    caller: Caller
    kind: str
    outcome: str
    model_asked: str
    provider: str
    model: str
    route_reason: str
    cache: str
    usage: Usage
    cost_nanousd: int
    priced: bool = True
    saved_nanousd: int = 0
    cache_age_s: int | None = None
    latency_ms: int
    first_token_ms: int | None = None
    attempts: int
    finish_reason: str | None = None
    streamed: bool = False
    simulated: bool = False
    limit_lowered: bool = False
