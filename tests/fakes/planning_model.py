"""A model played by a few rules over the strict stand-in: plans two tasks, uses a tool once in each, accepts drafts."""

import json
from collections import deque
from typing import Any

from tests.upstream import Say, Upstream

PLAN = {
    "t1": {"title": "First", "instructions": "Do the first thing.", "expected_output": "", "review": False},
    "t2": {
        "title": "Second",
        "instructions": "Do the second thing.",
        "expected_output": "",
        "review": True,
        "depends_on": ["t1"],
    },
}
DOOM = "by the doomed way"
"""A goal with these words is planned as a task that no critic accepts; planned anew, it is done."""
DOOMED = {"t1": {"title": "Doomed", "instructions": "Do it in a doomed way.", "expected_output": "", "review": True}}


class Actor(deque[Say]):
    """Stands where a script would, and answers what was just asked."""

    def __init__(self, upstream: Upstream, effect_url: str) -> None:
        super().__init__()
        self._upstream = upstream
        self._effect_url = effect_url

    def __bool__(self) -> bool:
        return True

    def popleft(self) -> Say:
        """The answer to the newest call."""
        body = self._upstream.calls[-1]
        wanted = _properties(body)
        if "t1" in wanted:
            plan = DOOMED if DOOM in json.dumps(body["messages"]) else PLAN
            return Say(text=json.dumps({**dict.fromkeys(wanted), **plan}))
        if "n1" in wanted:
            return Say(text=json.dumps({**dict.fromkeys(wanted), "n1": PLAN["t1"]}))
        if "accepted" in wanted:
            is_good = DOOMED["t1"]["instructions"] not in json.dumps(body["messages"])
            return Say(text=json.dumps({**dict.fromkeys(wanted), "accepted": is_good, "reasons": ["never"]}))
        if body.get("tools") and not any(message["role"] == "tool" for message in body["messages"]):
            return Say(tool_calls=[self._effect()])
        return Say(text="The thing is done.")

    def _effect(self) -> dict[str, Any]:
        arguments = json.dumps({"method": "PUT", "url": self._effect_url, "json": {"by": "an agent"}})
        return {"id": "call_1", "type": "function", "function": {"name": "http_request", "arguments": arguments}}


def _properties(body: dict[str, Any]) -> list[str]:
    schema = ((body.get("response_format") or {}).get("json_schema") or {}).get("schema") or {}
    return list(schema.get("properties") or {})
