"""What CognitionOS offers over MCP: each tool is one request to our own API, made as whoever asks.

So a tool has the permission, the checks, the limits and the tenant of its route, and answers what the route answers.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from cognitionos.kernel.json_schema import faults_of, in_words

LONGEST_WAIT_S = 25.0
_FIRST_LOOK_S, _LAST_LOOK_S = 0.1, 1.0
_ENDED = frozenset({"succeeded", "failed", "cancelled"})

Send = Callable[[str, str, Any], Awaitable[tuple[int, Any]]]
"""(method, path, JSON body or None): the status and the JSON of the answer."""


class UnknownTool(LookupError):
    """There is no tool of this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A tool and its request. `{name}` in the path is filled in; what is left goes into the body, or into the query."""

    name: str
    description: str
    properties: Mapping[str, Mapping[str, Any]]
    method: str
    path: str
    required: tuple[str, ...] = ()
    reads: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """Of its arguments."""
        return {
            "type": "object",
            "properties": dict(self.properties),
            "required": list(self.required),
            "additionalProperties": False,
        }

    def request(self, arguments: Mapping[str, Any]) -> tuple[str, str, Any]:
        """Method, path and body."""
        rest, path = dict(arguments), self.path
        for name in self.properties:
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", quote(str(rest.pop(name, "")), safe=""))
        if self.method == "GET":
            return "GET", f"{path}?{urlencode(rest)}" if rest else path, None
        return self.method, path, rest


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "description": description}


_RUN = {"run_id": _text("the run's id")}
_LIMIT = {"limit": {"type": "integer", "minimum": 1, "maximum": 100}}
FOLLOW = "follow_run"
_WAIT = {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT_S, "description": "seconds to wait for its end"}
OFFERS: tuple[Offer, ...] = (
    Offer(
        name="start_goal",
        description="Give CognitionOS a goal; it plans it and works on it. Answers with the goal's id at once.",
        properties={
            "statement": _text("what is to be done"),
            "budget_usd": _text("what it may cost at most, such as 0.50"),
        },
        required=("statement",),
        method="POST",
        path="/v1/goals",
    ),
    Offer(
        name="get_goal",
        description="How a goal stands: its run, its result, what it cost.",
        properties={"goal_id": _text("the goal's id")},
        required=("goal_id",),
        method="GET",
        path="/v1/goals/{goal_id}",
        reads=True,
    ),
    Offer(
        name="list_goals",
        description="The latest goals.",
        properties=_LIMIT,
        method="GET",
        path="/v1/goals",
        reads=True,
    ),
    Offer(
        name="cancel_goal",
        description="Stop working on a goal.",
        properties={"goal_id": _text("the goal's id")},
        required=("goal_id",),
        method="POST",
        path="/v1/goals/{goal_id}/cancel",
    ),
    Offer(
        name="start_run",
        description="Run a declared workflow on an input.",
        properties={"workflow": _text("its name"), "input": {"description": "any JSON"}},
        required=("workflow",),
        method="POST",
        path="/v1/runs",
    ),
    Offer(
        name=FOLLOW,
        description="Wait until a run has ended, or some seconds at most, and say how it stands.",
        properties={**_RUN, "wait_s": _WAIT},
        required=("run_id",),
        method="GET",
        path="/v1/runs/{run_id}",
        reads=True,
    ),
    Offer(
        name="list_tasks",
        description="The tasks of a run, with their outputs.",
        properties={**_RUN, **_LIMIT},
        required=("run_id",),
        method="GET",
        path="/v1/runs/{run_id}/tasks",
        reads=True,
    ),
    Offer(
        name="list_steps",
        description="What a run's agents said and which tools they called.",
        properties={**_RUN, **_LIMIT},
        required=("run_id",),
        method="GET",
        path="/v1/runs/{run_id}/steps",
        reads=True,
    ),
    Offer(
        name="search_memory",
        description="Search the project's memory, by meaning and by words.",
        properties={"query": _text("what to look for"), "limit": {"type": "integer", "minimum": 1, "maximum": 50}},
        required=("query",),
        method="POST",
        path="/v1/memories/search",
        reads=True,
    ),
    Offer(
        name="remember",
        description="Keep a fact in the project's memory.",
        properties={"content": _text("one fact")},
        required=("content",),
        method="POST",
        path="/v1/memories",
    ),
)
_BY_NAME = {each.name: each for each in OFFERS}


async def call(name: str, arguments: Mapping[str, Any], send: Send) -> tuple[bool, Any]:
    """Whether it worked, and what came of it. Raises `UnknownTool`."""
    offer = _BY_NAME.get(name)
    if offer is None:
        raise UnknownTool(f"There is no tool {name[:100]!r}; there are {', '.join(_BY_NAME)}.")
    faults = faults_of(arguments, offer.schema)
    if faults:
        return False, {"error": f"The arguments do not fit: {in_words(faults)}."}
    if name == FOLLOW:
        return await _follow(offer, arguments, send)
    status, answer = await send(*offer.request(arguments))
    return status < 400, answer


async def _follow(offer: Offer, arguments: Mapping[str, Any], send: Send) -> tuple[bool, Any]:
    until, pause_s = time.monotonic() + arguments.get("wait_s", LONGEST_WAIT_S), _FIRST_LOOK_S
    while True:
        status, answer = await send(*offer.request({"run_id": arguments["run_id"]}))
        if status >= 400 or answer.get("status") in _ENDED or time.monotonic() + pause_s > until:
            return status < 400, answer
        await asyncio.sleep(pause_s)
        pause_s = min(_LAST_LOOK_S, pause_s * 1.5)


def as_text(answer: Any) -> str:
    """An answer as a model reads it."""
    return json.dumps(answer, ensure_ascii=False, default=str)
