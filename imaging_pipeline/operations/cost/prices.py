"""List prices, and lines of a bill that they multiply."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

_LIST: Final = json.loads(Path(__file__).with_name("prices.json").read_text())
_MULTIPLES: Final = {1: "", 1000: "/k", 10_000: "/10k", 100_000: "/100k", 1_000_000: "/M"}

CURRENCY: Final[str] = _LIST["currency"]
REGION: Final[str] = _LIST["region"]
DATE: Final[str] = _LIST["date"]
TERMS: Final[str] = _LIST["terms"]


class Price(NamedTuple):
    """What so many units cost, as AWS lists it."""

    price: float
    per: int

    @property
    def each(self) -> float:
        """Price of one unit."""
        return self.price / self.per

    def __str__(self) -> str:
        return f"{self.price:g}{_MULTIPLES[self.per]}"


class Service(NamedTuple):
    """An AWS service, and the title of AWS's page that lists its prices."""

    name: str
    page: str


PRICES: Final[Mapping[str, Price]] = {name: Price(**price) for name, price in _LIST["prices"].items()}
SERVICES: Final[Mapping[str, Service]] = {name: Service(**service) for name, service in _LIST["services"].items()}
"""By the first word of their prices' names."""


@dataclass(frozen=True)
class Line:
    """One line of a bill.

    Attributes
    ----------
    part
        What is billed.
    price
        Name in `PRICES`.
    quantity
        Number of units.
    """

    part: str
    price: str
    quantity: float

    @property
    def cost(self) -> float:
        """Quantity by price."""
        return self.quantity * PRICES[self.price].each

    @property
    def service(self) -> str:
        """Name of the service that bills it."""
        return SERVICES[self.price.split("_")[0]].name


def total(lines: Iterable[Line]) -> float:
    """Return the sum of a bill."""
    return sum(line.cost for line in lines)


def costs_by_service(lines: Iterable[Line]) -> dict[str, float]:
    """Return what a bill comes to for each service, by its name."""
    costs: dict[str, float] = {}
    for line in lines:
        costs[line.service] = costs.get(line.service, 0) + line.cost
    return costs
