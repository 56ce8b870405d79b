"""Traces leave when an endpoint is named, cost no import when none is, and continue what the caller began."""

import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry import trace

from cognitionos.platform import telemetry

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
PROGRAM = f"""
import sys
from cognitionos.platform import telemetry
from cognitionos.platform.config import Settings

flush = telemetry.configure(Settings(), service="test")
carrier = {{}}
with telemetry.span("work", kind="server", carrier={{"traceparent": "{TRACEPARENT}"}}):
    telemetry.inject(carrier)
flush()
print(carrier["traceparent"].split("-")[1], "opentelemetry.sdk" in sys.modules, telemetry.is_on())
"""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """An HTTP server that keeps what is posted to it."""
    received: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()
    thread.join()


def _run(**variables: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=variables, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.split()


def test_a_span_is_exported_in_the_caller_s_trace(collector: tuple[str, list[tuple[str, bytes]]]) -> None:
    url, received = collector

    said = _run(COGNITIONOS_OTLP_ENDPOINT=url)

    assert said == [TRACE_ID, "True", "True"]
    assert [path for path, _ in received] == ["/v1/traces"]
    assert bytes.fromhex(TRACE_ID) in received[0][1]
    assert b"cognitionos-test" in received[0][1]


def test_without_an_endpoint_the_sdk_is_not_imported_and_a_trace_is_still_passed_on() -> None:
    assert _run() == [TRACE_ID, "False", "False"]


def test_outside_of_a_trace_nothing_is_added_to_what_goes_out() -> None:
    carrier: dict[str, str] = {}

    telemetry.inject(carrier)

    assert carrier == {}
    assert telemetry.trace_id() is None


def test_a_trace_ends_with_its_block() -> None:
    with telemetry.span("work", carrier={"traceparent": TRACEPARENT}):
        assert telemetry.trace_id() == TRACE_ID

    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_process_without_http_can_serve_its_metrics() -> None:
    stop = telemetry.serve_metrics(port := _free_port())

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        body = answer.read()
    stop()

    assert b"python_info" in body


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
