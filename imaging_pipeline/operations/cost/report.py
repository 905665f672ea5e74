"""The bill as a table of eighty columns, with what was assumed and where the prices are from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from textwrap import wrap
from typing import Final

from imaging_pipeline.operations.cost.assumptions import INDEX_USE, Assumptions
from imaging_pipeline.operations.cost.per_object import MILLION
from imaging_pipeline.operations.cost.prices import CURRENCY, DATE, PRICES, REGION, SERVICES, TERMS, Line, total

WIDTH: Final = 80
MONTHS: Final = 12
DAYS: Final = 365


@dataclass(frozen=True)
class Bill:
    """What one workflow type of a stage costs."""

    million: Sequence[Line]
    fixed: Sequence[Line]
    kept: Sequence[Line]

    def objects(self, per_day: float) -> float:
        """Return what a month of deliveries costs."""
        return total(self.million) * per_day * DAYS / MONTHS / MILLION


def report(stage: str, bills: Mapping[str, Bill], assumed: Assumptions, *, objects_per_day: float) -> Iterator[str]:
    """Yield the lines of the report, for each workflow type one column of costs."""
    yield f"Stage {stage}, in {CURRENCY}"
    yield ""
    yield _row("A million delivered objects", "quantity", "price", *bills)
    yield from _parts([bill.million for bill in bills.values()])
    yield _total([total(bill.million) for bill in bills.values()])
    yield ""
    yield _row(f"A month at {objects_per_day:,.0f} objects a day", "quantity", "price", *bills)
    deliveries = [bill.objects(objects_per_day) for bill in bills.values()]
    yield _row("  objects, as above", _number(objects_per_day * DAYS / MONTHS), "", *map(_money, deliveries))
    yield from _parts([bill.fixed for bill in bills.values()])
    months = [each + total(bill.fixed) for each, bill in zip(deliveries, bills.values(), strict=True)]
    yield _total(months)
    yield ""
    yield _row("What is kept after a year, a month", "quantity", "price", *bills)
    yield from _parts([bill.kept for bill in bills.values()])
    yield _total([total(bill.kept) for bill in bills.values()])
    with_kept = [month + total(bill.kept) for month, bill in zip(months, bills.values(), strict=True)]
    yield _row("  a month after a year, all in all", "", "", *map(_money, with_kept))
    yield ""
    yield "Assumed for each object; --set <name>=<number> changes it"
    for each in fields(assumed):
        yield f"  {each.name:<20}{getattr(assumed, each.name):>9,g}  {each.metadata['meaning']}"
    yield ""
    yield "Assumed for each object and index (INDEX_USE)"
    for table, indexes in INDEX_USE.items():
        for name, use in indexes.items():
            yield f"  {f'{table}, {name}':<28}writes: {use.writes:g}, kept: {use.kept_kb:g} KB"
    yield ""
    yield from wrap(_source(), WIDTH)


def _parts(columns: Sequence[Sequence[Line]]) -> Iterator[str]:
    """Yield a row for each part of any column, with a cost in the columns that have it."""
    by_part = [{line.part: line for line in lines} for lines in columns]
    every_part = {part: line for lines in by_part for part, line in lines.items()}
    for part, line in every_part.items():
        costs = (_money(lines[part].cost) if part in lines else "-" for lines in by_part)
        yield _row(f"  {part}", _number(line.quantity), str(PRICES[line.price]), *costs)


def _total(costs: Sequence[float]) -> str:
    return _row("  total", "", "", *map(_money, costs))


def _row(part: str, quantity: str, price: str, *costs: str) -> str:
    return f"{part:<36}{quantity:>13}{price:>11}{''.join(f'{cost:>10}' for cost in costs)}"


def _number(quantity: float) -> str:
    return f"{quantity:,.0f}" if quantity >= 100 else f"{quantity:,.3g}"


def _money(cost: float) -> str:
    return f"{cost:,.2f}" if cost < 1_000_000 else f"{cost:,.0f}"


def _source() -> str:
    pages = ", ".join(dict.fromkeys(service.page for service in SERVICES.values()))
    return (
        f"Prices (prices.json): list prices of {REGION} as of {DATE}, {TERMS}; entered by hand."
        f" Other regions cost more or less. AWS's pages: {pages}."
    )
