"""Acts on runs, drawn by lot: everything that a person may do to them over HTTP, at any moment."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

MOST_RUNS = 30
FINAL = ("succeeded", "failed", "cancelled")
_TAKEN = {200, 201, 202, 404, 409, 422}
_ACTS = {
    "start": 6,
    "start-and-signal": 2,
    "pause": 5,
    "pause-now": 2,
    "resume": 8,
    "cancel": 3,
    "retry": 8,
    "fork": 5,
    "fork-from": 3,
    "signal": 8,
    "approve": 4,
    "reject": 2,
}


@dataclass(kw_only=True)
class Acts:
    """One tenant's acts. `refused` counts what came too late; any other answer than that and success is in `broken`."""

    client: aiohttp.ClientSession
    url: str
    name: str
    chance: random.Random
    roots: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    async def call(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """Status and body."""
        async with self.client.request(method, f"{self.url}{path}", **more) as response:
            return response.status, await response.json() if response.content_type.endswith("json") else None

    async def listed(self, path: str) -> list[dict[str, Any]]:
        """All pages of a list."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            _, page = await self.call("GET", f"{path}{'&' if '?' in path else '?'}limit=200{cursor}")
            found += page["items"]
            if not page.get("next_cursor"):
                return found
            cursor = f"&cursor={page['next_cursor']}"

    async def perform(self, for_s: float) -> None:
        """One act after the other for so long, up to five a second."""
        until = time.monotonic() + for_s
        while time.monotonic() < until:
            [name] = self.chance.choices(list(_ACTS), list(_ACTS.values()))
            await self._one(name)
            await asyncio.sleep(self.chance.uniform(0, 0.4))

    async def _one(self, name: str) -> None:
        match name.split("-"):
            case ["start", *rest]:
                await self._start(signals=bool(rest))
            case ["approve" | "reject" as decision]:
                _, page = await self.call("GET", "/v1/approvals?status=pending&limit=50")
                if page["items"]:
                    await self._post(name, f"{self.chance.choice(page['items'])['href']}/{decision}", {})
            case [act, *rest]:
                href = await self._some_run()
                if href is not None:
                    await self._on_run(name, act, href)

    async def _on_run(self, name: str, act: str, href: str) -> None:
        if act == "signal":
            await self._post(name, f"{href}/signals/go", {"payload": "called"})
        elif act == "fork":
            start = {"from": self.chance.choice(["first", "each", "each[1]", "many[0]", "nested", "in-b"])}
            made = await self._post(name, f"{href}/fork", start if name != act else {})
            if made is not None:
                self.roots.append(made["href"])
        else:
            await self._post(name, f"{href}/{act}{'?now=true' if act == 'pause' and name != act else ''}", None)

    async def _start(self, *, signals: bool) -> None:
        if len(self.roots) >= MOST_RUNS:
            return
        given = {"workflow": "outer", "input": {"run": f"{self.name}-{len(self.roots)}", "place": "top"}}
        made = await self._post("start", "/v1/runs", given)
        if made is not None:
            self.roots.append(made["href"])
            if signals:  # before anything waits for it
                await self._post("signal", f"{made['href']}/signals/go", {"payload": "early"})

    async def _some_run(self) -> str | None:
        """One that was started or forked, or nested below; not one of a schedule."""
        _, page = await self.call("GET", "/v1/runs?limit=100")
        known = [run["href"] for run in page["items"] if run["workflow"] != "tick"]
        return self.chance.choice(known) if known else None

    async def _post(self, name: str, path: str, body: Any) -> Any | None:
        status, answer = await self.call("POST", path, **({} if body is None else {"json": body}))
        self.done[name] += status < 300
        self.refused[name] += status >= 400
        if status not in _TAKEN:
            self.broken.append(f"{name} {path}: {status} {answer}")
        return answer if status < 300 else None

    async def let_all_end(self, *, but: frozenset[str]) -> None:
        """Resume whatever is paused, but the trees of the runs `but`, until nothing goes on."""
        while going_on := await self._going_on(but):
            for run in going_on:
                if run["status"] == "paused":
                    await self._post("resume", f"{run['href']}/resume", None)
            await asyncio.sleep(0.1)

    async def paused_roots(self) -> list[str]:
        """Runs that are paused, and started by nobody."""
        runs = await self.listed("/v1/runs?status=paused")
        return [run["href"] for run in runs if run["parent_run_id"] is None]

    async def _going_on(self, but: frozenset[str]) -> list[dict[str, Any]]:
        runs = await self.listed("/v1/runs")
        above = {run["href"]: f"/v1/runs/{run['parent_run_id']}" if run["parent_run_id"] else None for run in runs}

        def root(href: str) -> str:
            while (parent := above[href]) is not None:
                href = parent
            return href

        return [run for run in runs if run["status"] not in FINAL and root(run["href"]) not in but]
