"""Where `cognitionos crash-test` receives effects."""

import pytest

from cognitionos.cli.crash_test.testing import CannotListen, listening


async def test_an_address_that_is_taken_is_named_with_what_to_do() -> None:
    async with listening("127.0.0.1", "0") as sink:
        taken = sink.address.rpartition(":")[2]

        with pytest.raises(CannotListen, match=f"--listen 127.0.0.1:{taken}: .*Name another"):
            async with listening("127.0.0.1", taken):
                pass


async def test_a_port_that_is_none_is_named() -> None:
    with pytest.raises(CannotListen, match="many"):
        async with listening("127.0.0.1", "many"):
            pass
