"""The `http_request` tool: requests to the hosts that the operator allows."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cognitionos.agents.application.ports import Tool, ToolAnswer, ToolContext
from cognitionos.agents.domain.tool import Effect, ToolSpec, clipped
from cognitionos.agents.infrastructure.http_tool import METHODS, HttpTool
from cognitionos.kernel.json_text import read_json
from cognitionos.platform.url_spellings import spellings

_TIMEOUT_S = 30.0
_SHOWN = 8_000
_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})

SPEC = ToolSpec(
    name="http_request",
    description="Send an HTTP request to an allowed host and get the answer.",
    parameters={
        "type": "object",
        "properties": {
            "method": {"type": "string", "enum": sorted(METHODS)},
            "url": {"type": "string", "minLength": 1, "maxLength": 4096},
            "headers": {"type": "object", "description": "names and texts"},
            "json": {"description": "a JSON body"},
            "body": {"type": "string", "description": "a text body, instead of json"},
        },
        "required": ["method", "url"],
        "additionalProperties": False,
    },
    effect=Effect.UNSAFE,
)


@dataclass(frozen=True, slots=True)
class HttpRequestTool:
    """Sends requests with the call's idempotency key. Methods that HTTP calls idempotent may be sent again."""

    http: HttpTool

    @property
    def tool(self) -> Tool:
        """As agents know it."""
        return Tool(
            spec=SPEC,
            run=self.run,
            timeout_s=_TIMEOUT_S + 5,
            why_not=self._why_not,
            effect_of=effect_of,
            spellings={"url": spellings}.get,
        )

    async def run(self, context: ToolContext, arguments: Mapping[str, Any]) -> ToolAnswer:
        """Every status is an answer; what is refused or does not answer is an error."""
        body, json = arguments.get("body"), arguments.get("json")
        response = await self.http.request(
            arguments["method"],
            arguments["url"],
            headers={str(name): str(value) for name, value in arguments.get("headers", {}).items()},
            body=None if body is None else body.encode("utf-8", "replace"),
            json=... if json is None else json,  # models fill in null for what they leave out
            idempotency_key=context.idempotency_key,
            timeout_s=context.task_s or _TIMEOUT_S,
            may_follow=lambda method, url: not context.must_wait({**arguments, "method": method, "url": url}),
        )
        told = {
            "status": response.status,
            "content_type": response.headers.get("content-type", ""),
            "body": _shown(response.body_text, _SHOWN if context.task_s is None else context.longest),
            "is_whole": not response.truncated,
        }
        return ToolAnswer(content=told)

    def _why_not(self) -> str | None:
        return None if self.http.allowed_hosts else "no host is allowed (COGNITIONOS_HTTP_ALLOW)"


def effect_of(arguments: Mapping[str, Any]) -> Effect:
    """GET and HEAD change nothing; PUT and DELETE may be sent twice; the rest may not (RFC 9110, section 9.2)."""
    method = arguments["method"]
    if method in {"GET", "HEAD"}:
        return Effect.NONE
    return Effect.IDEMPOTENT if method in _REPEATABLE else Effect.UNSAFE


def _shown(text: str, most: int) -> Any:
    if len(text) <= most:
        with suppress(ValueError):
            return read_json(text)
    return clipped(text, most)
