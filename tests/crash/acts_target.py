"""What the runs of the storm of acts do: every kind that waits, and keyed effects on a target that refuses some."""

import asyncio
import zlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from tests.serving import serving

Label = tuple[str, str, str, str]
"""Which effect it is: the run's name, the place of a nested run, the task, the item of a map."""
_TERMS = {"retry": {"max_attempts": 3, "backoff_s": 0.05}}
_RUN = {"run": {"$ref": "run.input.run"}, "place": {"$ref": "run.input.place"}}


@dataclass(kw_only=True)
class Target:
    """Applies an effect once for each key, and tells the key. Some keys are refused or not served at first."""

    address: str = ""
    applied: Counter[str] = field(default_factory=Counter)
    labels: defaultdict[Label, set[str]] = field(default_factory=lambda: defaultdict(set))
    _seen: set[str] = field(default_factory=set)

    async def apply(self, request: web.Request) -> web.Response:
        """One request."""
        key, told = request.headers["idempotency-key"], await request.json()
        self.labels[(told["run"], told["place"], told["task"], str(told["item"]))].add(key)
        lot, is_new = zlib.crc32(key.encode()), key not in self._seen
        self._seen.add(key)
        await asyncio.sleep(lot % 16 * 0.01)
        if is_new and lot % 13 == 0:
            return web.json_response({}, status=400)
        if is_new and lot % 7 == 0:
            return web.json_response({}, status=503)
        self.applied[key] += 1
        return web.json_response({"key": key})

    def effect(self, task: str, *after: str, item: Any = None) -> dict[str, Any]:
        """The task that has the effect."""
        body = {**_RUN, "task": task, "item": item}
        given = {"method": "POST", "url": f"http://{self.address}/", "json": body}
        return {"kind": "http", "depends_on": list(after), "input": given, **_TERMS}

    def inner(self) -> dict[str, Any]:
        """The nested workflow: an effect, a signal that may come or not, an effect."""
        wait = {"signal": "go", "timeout_s": 1, "default": "nobody called"}
        return {
            "in-a": self.effect("in-a"),
            "in-wait": {"kind": "wait", "depends_on": ["in-a"], "input": wait},
            "in-b": self.effect("in-b", "in-wait"),
        }

    def outer(self) -> dict[str, Any]:
        """Effects one after the other, in a map, in nested runs and in a map of these; questions, signals, a choice."""
        item = self.effect("each", item={"$ref": "item"})
        del item["depends_on"]
        here = {"$ref": "run.input.run"}
        branch = {"left": 1, "op": "==", "right": 1, "then": ["each"], "else": ["never"]}
        many = {"workflow": "inner", "input": {"run": here, "place": {"$ref": "item"}}}
        asked = {"prompt": "May it?", "deadline_s": 1, "default": "approve"}
        return {
            "first": self.effect("first"),
            "branch": {"kind": "condition", "depends_on": ["first"], "input": branch},
            "each": {
                "kind": "map",
                "depends_on": ["branch"],
                "input": {"over": [0, 1, 2], "concurrency": 2, "task": item},
            },
            "never": self.effect("never", "branch"),
            "many": {
                "kind": "map",
                "depends_on": ["first"],
                "input": {"over": ["m0", "m1"], "concurrency": 1, "task": {"kind": "workflow", "input": many}},
            },
            "nested": {
                "kind": "workflow",
                "depends_on": ["each"],
                "input": {"workflow": "inner", "input": {"run": here, "place": "n"}},
            },
            "asked": {"kind": "approval", "depends_on": ["first"], "input": asked},
            "waited": {
                "kind": "wait",
                "depends_on": ["first"],
                "input": {"signal": "go", "timeout_s": 1, "default": "nobody called"},
            },
            "join": {"kind": "value", "depends_on": ["never", "many", "nested", "asked", "waited"], "input": 1},
            "last": self.effect("last", "join"),
        }

    def tick(self) -> dict[str, Any]:
        """What a schedule starts: it takes longer than the time until the next."""
        pause = {"kind": "wait", "depends_on": ["tick"], "input": {"duration_s": 1.2}}
        return {"tick": self.effect("tick"), "pause": pause, "tock": self.effect("tock", "pause")}


@asynccontextmanager
async def running_target() -> AsyncIterator[Target]:
    """One that listens on loopback."""
    target = Target()
    app = web.Application()
    app.router.add_post("/", target.apply)
    async with serving(app) as address:
        target.address = address
        yield target
