"""The terminal as a client of the HTTP API: the standard library only, so that a command starts at once."""

import argparse
import base64
import json
import mimetypes
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from cognitionos.cli.arguments import default_port
from cognitionos.cli.note import KEY_FILE, running_stack
from cognitionos.kernel.errors import Invalid, NotFound, Unavailable

REQUEST_TIMEOUT_S = 60.0
STREAM_TIMEOUT_S = 45.0  # the server sends a comment every 15 s
MAX_ATTACHMENT_BYTES = 10 * 2**20
_AROUND_A_WORD = "\"'`()[]{}<>,;:!?"


class RequestRefused(Invalid):
    """The API answered with a problem document; `detail` is its text, `status` that of HTTP."""

    def __init__(self, detail: str, *, status: int) -> None:
        super().__init__(detail)
        self.status = status


class ServerUnreachable(Unavailable):
    """Nothing answers at the URL."""


class UnknownServer(NotFound):
    """No URL or key was given and no local stack was found."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One server-sent event."""

    id: str
    kind: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Api:
    """The HTTP API at `url` as the owner of `key`."""

    url: str
    key: str

    def get(self, path: str) -> Any:
        """The JSON answer of GET `path`."""
        return self._json("GET", path, None)

    def post(self, path: str, body: Any) -> Any:
        """The JSON answer of POST `path`; sent with an idempotency key, so that a repeated send does it once."""
        return self._json("POST", path, body)

    def post_for_secret(self, path: str, body: Any) -> Any:
        """As `post`, for an answer that is shown once and never kept: no idempotency key."""
        with self._open("POST", path, body, timeout_s=REQUEST_TIMEOUT_S, is_kept=False) as answer:
            return json.load(answer)

    def put(self, path: str, body: Any) -> Any:
        """The JSON answer of PUT `path`."""
        return self._json("PUT", path, body)

    def patch(self, path: str, body: Any) -> Any:
        """The JSON answer of PATCH `path`."""
        return self._json("PATCH", path, body)

    def delete(self, path: str) -> None:
        """DELETE `path`."""
        self._open("DELETE", path, None, timeout_s=REQUEST_TIMEOUT_S).close()

    def download(self, path: str) -> bytes:
        """The bytes of GET `path`."""
        with self._open("GET", path, None, timeout_s=REQUEST_TIMEOUT_S) as answer:
            content: bytes = answer.read()
        return content

    def events(self, path: str, after: str | None = None, *, body: Any = None) -> Iterator[StreamEvent]:
        """The server-sent events of `path`, from after the id `after`, until the server ends the stream.

        With a `body` it is a POST: sent once, its stream is taken up again by a GET of another path.
        """
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        method = "GET" if body is None else "POST"
        with self._open(method, path, body, timeout_s=STREAM_TIMEOUT_S, headers=headers, is_kept=False) as answer:
            fields: dict[str, str] = {}
            for raw in answer:
                line = raw.decode().rstrip("\r\n")
                if line and not line.startswith(":"):
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                elif not line and "data" in fields:
                    yield StreamEvent(fields.get("id", ""), fields.get("event", ""), json.loads(fields["data"]))
                    fields = {}

    def _json(self, method: str, path: str, body: Any) -> Any:
        with self._open(method, path, body, timeout_s=REQUEST_TIMEOUT_S) as answer:
            return json.load(answer)

    def _open(
        self,
        method: str,
        path: str,
        body: Any,
        *,
        timeout_s: float,
        headers: dict[str, str] | None = None,
        is_kept: bool = True,
    ) -> Any:
        everything = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        if body is not None:
            everything |= {"Content-Type": "application/json"}
            everything |= {"Idempotency-Key": str(uuid4())} if is_kept else {}
        request = urllib.request.Request(  # noqa: S310 - the URL is the user's own server
            self.url.rstrip("/") + path,
            data=None if body is None else json.dumps(body).encode(),
            headers=everything,
            method=method,
        )
        try:
            return _OPENER.open(request, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            raise RequestRefused(_problem_text(error), status=error.code) from error
        except OSError as error:
            raise ServerUnreachable(
                f"nothing answers at {self.url} ({error}); start it with: cognitionos up"
            ) from error


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _problem_text(error: urllib.error.HTTPError) -> str:
    try:
        problem = json.load(error)
    except ValueError:
        return f"HTTP {error.code} {error.reason}"
    told = str(problem.get("detail") or problem.get("title"))
    fields = [one for one in problem.get("errors") or () if _plain(one["message"]) not in _plain(told)]
    told += "".join(f"\n  {one['field']}: {one['message']}" for one in fields)
    return f"{told} (HTTP {error.code}, {problem.get('type', '')})"


def _plain(text: str) -> str:
    """What a sentence says, however it is quoted and ended."""
    return text.strip().rstrip(".").replace("'", "").replace('"', "").casefold()


def find_server(*, url: str | None, key: str | None, data_dir: Path) -> Api | None:
    """The API to talk to: as given, else by COGNITIONOS_URL and COGNITIONOS_API_KEY, else the stack of `data_dir`.

    A key alone is for the server on this machine.
    """
    url = url or os.environ.get("COGNITIONOS_URL")
    key = key or os.environ.get("COGNITIONOS_API_KEY")
    if url and not key:
        raise UnknownServer("a URL needs a key: --api-key or COGNITIONOS_API_KEY")
    if url and key:
        return Api(url, key)
    running, key_file = running_stack(data_dir), data_dir / KEY_FILE
    if key:
        return Api(running["url"] if running else f"http://127.0.0.1:{default_port()}", key)
    return Api(running["url"], key_file.read_text().strip()) if running and key_file.exists() else None


def server_of(args: argparse.Namespace) -> Api:
    """The server that the arguments name (`add_server_arguments`); raises `UnknownServer` with the remedy."""
    api = find_server(url=args.url, key=args.api_key, data_dir=args.data)
    if api is None:
        raise UnknownServer(
            f"no stack runs on {args.data}; start one with 'cognitionos up', or name a server with --url and --api-key"
        )
    return api


def attachments(statement: str, given: list[Path]) -> list[dict[str, str]]:
    """The files given, and those the statement names by a path that exists, as the inputs of a goal."""
    named = [Path(word.strip(_AROUND_A_WORD).rstrip(".")) for word in re.split(r"\s+", statement)]
    found: dict[str, Path] = {}
    for path in [*given, *(path for path in named if path.name and path.is_file())]:
        if not path.is_file():
            raise Invalid(f"there is no file {path}")
        if path.stat().st_size > MAX_ATTACHMENT_BYTES:
            raise Invalid(
                f"{path} is larger than {MAX_ATTACHMENT_BYTES // 2**20} MiB, the most a goal's input may have"
            )
        if found.setdefault(path.name, path).resolve() != path.resolve():
            raise Invalid(f"two inputs are named {path.name}: {found[path.name]} and {path}")
    return [
        {
            "name": name,
            "media_type": mimetypes.guess_type(name)[0] or "application/octet-stream",
            "content_base64": base64.b64encode(path.read_bytes()).decode(),
        }
        for name, path in found.items()
    ]
