"""Cursors: how far a recurring check got, kept in the ledger from one run to the next."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.ledger.table import UNKNOWN, LedgerTable

_MOVED = "SET #reached = :reached"


@dataclass(frozen=True)
class Cursor:
    """Position of a check in what it goes through.

    Parameters
    ----------
    table
        Of the ledger.
    name
        Of the item, which begins with `TIME_CURSORS` or `SCAN_CURSORS`.
    """

    table: LedgerTable
    name: str

    def read(self) -> str:
        """Return the position; empty at the beginning."""
        item = self.table.get(self.name)
        return "" if item is None else str(item["reached"])

    def move(self, position: str) -> None:
        """Set the position; empty: back to the beginning."""
        self.table.update(self.name, _MOVED, {":reached": position})

    def advance(self, position: str) -> None:
        """Set the position unless the present one is further on, of positions that sort as text."""
        self.table.update(self.name, _MOVED, {":reached": position}, condition=f"{UNKNOWN} OR #reached < :reached")
