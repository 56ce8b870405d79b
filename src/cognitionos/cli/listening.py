"""Ports, and whether the API behind one is ready."""

import http.client
import socket
from urllib.parse import urlsplit

from cognitionos.kernel.errors import Conflict

# granian's socket listens before the application is ready: a request may hang until then
_ANSWER_WITHIN_S = 1.0
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class PortTaken(Conflict):
    """Somebody listens where the API should, or we may not."""


def free_port(host: str, wanted: int) -> int:
    """`wanted` if it can be listened on, else `PortTaken`; 0: a free one of the system's choice."""
    family = socket.getaddrinfo(host, wanted, type=socket.SOCK_STREAM)[0][0]
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, wanted))
        except OSError as error:
            raise PortTaken(
                f"port {wanted} on {host}: {error.strerror}; choose another with --port (0: any)"
            ) from error
        port: int = probe.getsockname()[1]
        return port


def public_url(host: str, port: int) -> str:
    """The URL under which this machine reaches the API."""
    name = _ANY_ADDRESS.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def answers_ready(url: str) -> bool:
    """Whether `/health/ready` answers 200 within a second."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_ANSWER_WITHIN_S)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
