"""Webhooks from the terminal, as a process against a real stack with a real worker."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.servers import scratch_dir
from tests.stacks import RunningStack, running_stack
from tests.waiting import eventually_sync


@contextmanager
def endpoint(got: list[dict[str, Any]]) -> Iterator[int]:
    class Take(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Take) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_worker_delivers_what_the_terminal_asked_for() -> None:
    got: list[dict[str, Any]] = []
    with endpoint(got) as port, scratch_dir() as folder:
        allow = {"COGNITIONOS_WEBHOOK_ALLOW": f"127.0.0.1:{port}"}
        with running_stack(folder / "data", settings=allow) as stack:
            made = stack.as_json("webhooks", "create", f"http://127.0.0.1:{port}/hook", "--event", "run.failed")
            ping = stack.as_json("webhooks", "ping", made["id"])
            eventually_sync(lambda: got, timeout_s=40)
            [delivery] = eventually_sync(lambda: delivered(stack, made["id"]), timeout_s=40)
            stack.as_json("webhooks", "replay", made["id"], ping["id"])
            eventually_sync(lambda: len(got) == 2, timeout_s=40)
            renewed = stack.as_json("webhooks", "renew-secret", made["id"])
            disabled = stack.as_json("webhooks", "disable", made["id"])
            enabled = stack.as_json("webhooks", "enable", made["id"])
            stack.as_json("webhooks", "delete", made["id"])
            left = stack.as_json("webhooks", "list")

    assert [each["type"] for each in got] == ["webhook.ping"] * 2
    assert (delivery["id"], [each["status"] for each in delivery["log"]]) == (ping["id"], [204])
    assert renewed["secret"] != made["secret"]
    assert (disabled["enabled"], enabled["enabled"], left["items"]) == (False, True, [])


def delivered(stack: RunningStack, webhook_id: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = stack.as_json("webhooks", "deliveries", webhook_id)["items"]
    return [each for each in items if each["status"] == "delivered"]
