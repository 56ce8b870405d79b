"""What a URL amounts to, however it is written."""

import pytest

from cognitionos.agents.domain.tool_rule import Comparison, Condition
from cognitionos.platform.url_spellings import spellings, spellings_elsewhere

SPELLINGS = {"url": spellings}.get


@pytest.mark.parametrize(
    ("url", "as_sent", "as_read"),
    [
        ("HTTPS://Pay.Example.COM:443/a#b", "https://pay.example.com/a", "https://pay.example.com/a"),
        ("http://h.example./a/%2e%2E/b/", "http://h.example./b/", "http://h.example/b/"),
        (
            "http://h.example:8080//a%2Fb%5cc?q=%70",
            "http://h.example:8080//a%2Fb%5Cc?q=p",
            "http://h.example:8080/a/b/c?q=p",
        ),
        ("http://[::1]:80/x", "http://[::1]/x", "http://[::1]/x"),
    ],
)
def test_a_url_is_read_as_it_is_sent_and_as_a_lenient_server_reads_it(url: str, as_sent: str, as_read: str) -> None:
    found = spellings(url)

    assert (found[0], found[-1]) == (as_sent, as_read)


@pytest.mark.parametrize("text", ["", "https://", " http://h/", "http://a@h/", "ftp://h/", "http://0x7f.1/"])
def test_what_is_never_sent_has_no_spellings(text: str) -> None:
    assert spellings(text) == ()


@pytest.mark.parametrize(
    ("op", "value", "url", "holds"),
    [
        (Comparison.STARTS_WITH, "HTTPS://PAY.example.com", "https://pay.example.com/x", True),
        (Comparison.STARTS_WITH, "https://pay.", "HTTPS://PAY.example.com", True),
        (Comparison.STARTS_WITH, "https://h/pay", "https://h/list", False),
        (Comparison.EQUALS, "https://h/", "https://H#x", True),
        (Comparison.CONTAINS, "/pay", "https://h/%70ay", True),
        (Comparison.IN, ["https://h/%70ay"], "https://h/pay", True),
        (Comparison.DIFFERS, "HTTPS://h/good", "https://h/good#", False),
        (Comparison.DIFFERS, "https://h/good", "https://h/bad%2F..%2Fgood", True),
        (Comparison.EXISTS, None, "https://h/", True),
    ],
)
def test_conditions_hold_for_every_way_to_write_a_url(op: Comparison, value: object, url: str, *, holds: bool) -> None:
    assert Condition(path="url", op=op, value=value).holds({"url": url}, SPELLINGS) is holds


@pytest.mark.parametrize(
    "spelled",
    [
        "https://shop.example/pay",
        "HTTPS://Shop.Example:443/a/../%70ay",
        "https://shop.example//pay",
        "https://shop.example/%70ay#x",
        "shop.example/pay",
        "Shop.example:443/pay",
        "//shop.example/pay",
        "https:\\\\shop.example\\pay",
        " https://shop.example/pay",
        "https://user@shop.example/pay",
        "https:/shop.example/pay",
        "https://shop.exam\nple/pay",
        "https://0x7f.1/pay",
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_no_way_to_write_a_url_slips_by_a_rule_on_another_programs_argument(spelled: str, *, nested: bool) -> None:
    starts = Condition(path="to.0.url", op=Comparison.STARTS_WITH, value="https://SHOP.example/pay")
    among = Condition(path="urls", op=Comparison.CONTAINS, value="https://shop.example/pay")
    given = {"urls": ["https://other.example/", spelled]} if nested else {"to": [{"url": spelled}]}

    assert (among if nested else starts).holds(given, lambda _path: spellings_elsewhere)


@pytest.mark.parametrize("text", ["https://shop.example/list", "shop", "", "a plain text", "shop.example", "v1.2: pay"])
def test_what_leads_elsewhere_or_is_no_url_is_not_held_up(text: str) -> None:
    for op, value in ((Comparison.STARTS_WITH, "https://shop.example/pay"), (Comparison.EQUALS, "https://h/")):
        assert not Condition(path="url", op=op, value=value).holds({"url": text}, lambda _path: spellings_elsewhere)


def test_a_rule_may_name_the_beginning_of_urls() -> None:
    plain = Condition(path="url", op=Comparison.STARTS_WITH, value="http://")

    assert plain.holds({"url": "HTTP://shop.example/"}, lambda _path: spellings_elsewhere)
    assert not plain.holds({"url": "https://shop.example/"}, lambda _path: spellings_elsewhere)
    assert Condition(path="urls", op=Comparison.EQUALS, value=["https://h/%70"]).holds(
        {"urls": ["https://H/p"]}, lambda _path: spellings_elsewhere
    )
