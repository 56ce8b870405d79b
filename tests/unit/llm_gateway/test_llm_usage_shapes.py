"""Every shape of usage costs what a hand computes: the table is `usage_shapes.md`."""

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from cognitionos.llm_gateway.domain.chat import Usage
from cognitionos.llm_gateway.domain.price import Price
from cognitionos.llm_gateway.domain.price_sheet import price_of_sheet, sheet_of
from cognitionos.llm_gateway.domain.price_table import price_from_table
from cognitionos.llm_gateway.infrastructure.anthropic_answer import usage_of, usage_wire
from cognitionos.llm_gateway.infrastructure.openai_schema import read_usage, usage_from, write_usage

HERE = Path(__file__).parent
PRICES: dict[str, dict[str, Any]] = json.loads((HERE / "usage_prices.json").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Shape:
    """One row of the table. `format` is whose words `usage` is in; `tier` stands beside it in the answer."""

    model: str
    name: str
    format: str
    tier: str
    usage: dict[str, Any]
    sum: str
    nanousd: int


def _shape(row: str) -> Shape:
    model, name, format_, tier, usage, sum_, nanousd = (cell.strip() for cell in row.strip("| \n").split("|"))
    return Shape(model, name, format_, tier, json.loads(usage.strip("`")), sum_, int(nanousd))


_TABLE = (HERE / "usage_shapes.md").read_text(encoding="utf-8").partition("---: |\n")[2]
SHAPES = tuple(_shape(row) for row in _TABLE.splitlines())

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.model}: {shape.name}")


def _usage(shape: Shape) -> Usage:
    read = usage_of(shape.usage) if shape.format == "anthropic" else None
    usage = read or read_usage({"usage": shape.usage, "service_tier": shape.tier or None})
    assert usage is not None
    return usage


def _price(shape: Shape) -> Price:
    price = price_from_table(PRICES[shape.model], name=shape.model)
    assert price is not None
    return price


@every_shape
def test_a_call_costs_what_a_hand_computes(shape: Shape) -> None:
    price = _price(shape)

    assert price.cost(_usage(shape)) == shape.nanousd
    assert price.fees.covers(_usage(shape))


@every_shape
def test_the_sum_beside_it_is_right(shape: Shape) -> None:
    factors = [product.split(" * ") for product in shape.sum.split(" + ")]

    dollars_per_million = sum((Fraction(tokens) * Fraction(rate) for tokens, rate in factors), start=Fraction(0))

    assert int(dollars_per_million * 1000 + Fraction(1, 2)) == shape.nanousd


@every_shape
def test_no_shape_costs_more_than_was_held_for_it(shape: Shape) -> None:
    price, usage = _price(shape), _usage(shape)

    narrowed = price.narrowed(usage.service_tier, words_only=False)

    assert price.cost(usage) <= narrowed.upper_bound(usage.prompt, usage.completion, searches=usage.searches)


@every_shape
def test_a_price_survives_being_written_and_read(shape: Shape) -> None:
    price = _price(shape)

    again = price_of_sheet(sheet_of(price))

    assert again.cost(_usage(shape)) == shape.nanousd
    assert again.fees.unasked == price.fees.unasked


@every_shape
def test_a_usage_survives_being_written_and_read(shape: Shape) -> None:
    usage = _usage(shape)

    assert usage_from(write_usage(usage)) == usage
    assert usage_from(usage_wire(usage)) == usage


def test_there_are_more_than_sixty_shapes_of_every_kind() -> None:
    assert len(SHAPES) >= 60
    assert len({(shape.model, shape.name) for shape in SHAPES}) == len(SHAPES)
