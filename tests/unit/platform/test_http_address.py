"""Which URLs and addresses are let out, without a network: the resolver is a table."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cognitionos.platform.http_address import (
    AllowedHosts,
    BadUrl,
    DestinationRefused,
    HostNotFound,
    approve,
    is_public,
    parse_url,
)

PUBLIC_4, PUBLIC_6 = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"


def answering(*addresses: str) -> object:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "169.254.169.254",
        "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.168.1.1", "198.18.0.1", "203.0.113.9",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16", "192.88.99.1",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "fe80::1",
        "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1",
        "100::1", "5f00::1", "fe80::1%eth0", "", "example.com", "127.1", "0x7f000001",
    ],
)  # fmt: skip
def test_an_address_that_leads_inside_or_nowhere_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", [PUBLIC_4, "1.1.1.1", "172.32.0.1", "100.128.0.1", "169.253.0.1", PUBLIC_6])
def test_an_ordinary_address_is_public(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_python_and_we_agree_on_what_is_private(address: object) -> None:
    assert not (is_public(str(address)) and not address.is_global)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("entry", "url", "open_"),
    [
        ("api.example.com", "https://api.example.com/x", True),
        ("api.example.com", "http://API.Example.com./x", True),
        ("api.example.com", "https://api.example.com:8443/", False),
        ("api.example.com:8443", "https://api.example.com:8443/", True),
        ("api.example.com:8443", "https://api.example.com/", False),
        ("api.example.com", "https://example.com/", False),
        ("api.example.com", "https://x.api.example.com/", False),
        ("*.example.com", "https://a.b.example.com/", True),
        ("*.example.com", "https://example.com/", False),
        ("*.example.com", "https://evilexample.com/", False),
        ("*.example.com", "https://example.com.evil.org/", False),
        (f"{PUBLIC_4}:443", f"https://{PUBLIC_4}/", True),
        (f"{PUBLIC_4}:443", f"http://{PUBLIC_4}/", False),
        ("[::1]:8080", "http://[::1]:8080/", True),
        ("[::1]:8080", "http://[0:0:0:0:0:0:0:1]:8080/", True),
        ("[::1]:8080", "http://[::1]/", False),
    ],
)
async def test_the_allow_list_opens_what_it_names(entry: str, url: str, open_: bool) -> None:  # noqa: FBT001
    allowed = AllowedHosts.parse([entry])

    if open_:
        assert (await approve(url, allowed=allowed, resolve=answering(PUBLIC_4))).addresses  # type: ignore[arg-type]
    else:
        with pytest.raises(DestinationRefused):
            await approve(url, allowed=allowed, resolve=answering(PUBLIC_4))  # type: ignore[arg-type]


async def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    allowed = AllowedHosts.parse(["example.com"])

    with pytest.raises(DestinationRefused, match="not public"):
        await approve("http://example.com/", allowed=allowed, resolve=answering(PUBLIC_4, "10.0.0.1"))  # type: ignore[arg-type]


async def test_a_listed_literal_address_does_not_open_names_that_lead_to_it() -> None:
    allowed = AllowedHosts.parse(["127.0.0.1:80", "example.com"])

    with pytest.raises(DestinationRefused):
        await approve("http://example.com/", allowed=allowed, resolve=answering("127.0.0.1"))  # type: ignore[arg-type]


async def test_a_name_without_addresses_is_not_found() -> None:
    with pytest.raises(HostNotFound):
        await approve("http://a.com/", allowed=AllowedHosts.parse(["a.com"]), resolve=answering())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "entry",
    ["", "*", "*.", "127.0.0.1", "::1", "[::1]", "a b", "http://a.com", "a.com:0", "a.com:x", "a.com:99999", "*.1"],
)
def test_a_list_entry_that_is_not_understood_is_an_error(entry: str) -> None:
    with pytest.raises(ValueError):
        AllowedHosts.parse([entry])


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    try:
        parsed = parse_url(f"http://{text}")
    except BadUrl:
        return

    assert parsed.raw_host
    assert parsed.raw_user is None
