"""`python -m tests.bench [gateway] [engine] [memory]`: what `make bench` runs, all of them unless some are named.
`python -m tests.bench grounding [FILE ...]` and `python -m tests.bench semantic [FILE ...]` need no servers.

Options (`--litellm=ENVIRONMENT`) go to each that is named.

On servers from TEST_DATABASE_URL and TEST_REDIS_URL, else on embedded ones that are as durable as the product's own
(every commit is on disk before it is reported), unlike those of the tests.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.bench import grounding, semantic
from tests.bench.machine import describe
from tests.servers import TestServers, scratch_dir

from cognitionos.platform.embedded import EmbeddedServers
from cognitionos.platform.embedded.postgres import PostgresOptions

BENCHES = {
    "gateway": ("Gateway: what a chat call costs on its way through", []),
    "engine": ("Engine: runs of tasks that do nothing", ["1000"]),
    "memory": ("Memory: search among 10,000 items of one tenant", []),
}
_LONGEST_S = 240


@contextlib.contextmanager
def durable_servers() -> Iterator[TestServers]:
    """The servers to measure on."""
    given = os.environ.get("TEST_DATABASE_URL"), os.environ.get("TEST_REDIS_URL")
    if given[0] and given[1]:
        yield TestServers(given[0], given[1])
        return
    with scratch_dir() as data_dir:
        servers = EmbeddedServers(data_dir, postgres=PostgresOptions(durable=True), valkey=True)
        try:
            urls = servers.start()
            yield TestServers(urls.admin or "", urls.redis or "")
        finally:
            servers.stop()
            shutil.rmtree(servers.placement.home, ignore_errors=True)


def main(names: list[str]) -> int:
    """Run them one after the other, each as a process of its own; gives the exit status."""
    if names[:1] == ["grounding"]:
        return grounding.main(names[1:])
    if names[:1] == ["semantic"]:
        return semantic.main(names[1:])
    names, more = [name for name in names if not name.startswith("-")], [name for name in names if name.startswith("-")]
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"no such bench: {', '.join(unknown)}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    started = time.perf_counter()
    with durable_servers() as servers:
        print("\n".join(describe(servers.postgres_url, servers.redis_url)), flush=True)
        urls = {"TEST_DATABASE_URL": servers.postgres_url, "TEST_REDIS_URL": servers.redis_url}
        for name in names or BENCHES:
            title, arguments = BENCHES[name]
            print(f"\n{title}", flush=True)
            command = [sys.executable, "-m", f"tests.bench.{name}", *arguments, *more]
            done = subprocess.run(command, env=os.environ | urls, timeout=None if more else _LONGEST_S, check=False)
            if done.returncode != 0:
                return done.returncode
    print(f"\nall in {time.perf_counter() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
