"""Addresses that users name lead outside only, at the check and at each connect."""

import pytest

from cognitionos.platform.http_address import AllowedHosts, BadUrl, DestinationRefused
from cognitionos.platform.http_guard import PublicResolver, check_base_url

NOBODY = AllowedHosts.parse(())
SOME = AllowedHosts.parse(("127.0.0.1:8000", "models.internal:8000"))


def leads_to(*addresses: str):
    async def resolve(host: str, port: int) -> tuple[str, ...]:
        return addresses

    return resolve


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000/v1", "http://169.254.169.254/", "http://[::ffff:127.0.0.1]/", "http://models.internal/"],
)
async def test_what_leads_inside_is_refused(url: str) -> None:
    with pytest.raises(DestinationRefused):
        await check_base_url(url, NOBODY, resolve=leads_to("93.184.216.34", "10.0.0.7"))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "http://models.internal:8000/v1", "https://93.184.216.34/"]
)
async def test_what_is_public_or_allowed_passes(url: str) -> None:
    await check_base_url(url, SOME, resolve=leads_to("10.0.0.7"))


async def test_an_allowed_address_is_allowed_at_its_port_only() -> None:
    with pytest.raises(DestinationRefused):
        await check_base_url("http://127.0.0.1:8001/v1", SOME)


@pytest.mark.parametrize("url", ["ftp://example.com", "http://0x7f.1/", "http://a:b@example.com/", "http://"])
async def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(BadUrl):
        await check_base_url(url, SOME)


async def test_a_name_that_later_leads_inside_is_refused_at_the_connect() -> None:
    with pytest.raises(OSError, match="not public"):
        await PublicResolver(NOBODY, resolve=leads_to("127.0.0.1")).resolve("rebinding.example.com", 80)

    found = await PublicResolver(SOME, resolve=leads_to("10.0.0.7")).resolve("models.internal", 8000)
    assert [each["host"] for each in found] == ["10.0.0.7"]
