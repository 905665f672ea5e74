"""DICOM PS3.15 Table E.1-1, edition 2026d: actions of the Basic Profile and its options, by attribute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from runtime.deidentification.rules.options import Option
from runtime.dicom.tags import is_private

_DATA_FILE: Final = Path(__file__).with_name("table_e1_1.tsv")


class Action(StrEnum):
    """Action codes of DICOM PS3.15 Table E.1-1a; `types.resolve` turns a compound code into one of the simple ones."""

    DUMMY = "D"
    EMPTY = "Z"
    REMOVE = "X"
    KEEP = "K"
    CLEAN = "C"
    MAP_UID = "U"
    EMPTY_OR_DUMMY = "Z/D"
    REMOVE_OR_EMPTY = "X/Z"
    REMOVE_OR_DUMMY = "X/D"
    REMOVE_OR_EMPTY_OR_DUMMY = "X/Z/D"
    REMOVE_OR_EMPTY_OR_MAP_UID = "X/Z/U*"

    @property
    def is_compound(self) -> bool:
        """Whether the attribute's type in the object's IOD decides."""
        return "/" in self

    __hash__ = str.__hash__  # an enumeration's own is written in Python, and every element's action is looked up


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    Attributes
    ----------
    pattern
        The tag as the table writes it: eight hexadecimal digits with a comma, where ``x`` stands for any digit, or
        ``gggg,eeee`` for every attribute of an odd group.
    keyword, name, vr
        As in DICOM PS3.6; private attributes have no keyword.
    basic
        What the Basic Profile does.
    options
        What an option does instead, KEEP or CLEAN; options that don't mention the attribute are absent.
    """

    pattern: str
    keyword: str
    name: str
    vr: str
    basic: Action
    options: Mapping[Option, Action]

    @property
    def tag(self) -> int | None:
        """The tag if the row names a single attribute."""
        digits = self.pattern.replace(",", "")
        return None if "x" in digits or digits == "ggggeeee" else int(digits, 16)


def rules() -> tuple[Rule, ...]:
    """Return every row: by tag, then repeating groups, private attributes last."""
    return _table().rules


def rule_for(tag: int) -> Rule | None:
    """Return the row that an attribute falls under, or ``None`` where the table doesn't mention it.

    Parameters
    ----------
    tag
        Group and element in one number, ``0x00100010``.
    """
    table = _table()
    if is_private(tag):
        return table.private
    return table.by_tag.get(tag) or table.repeating.get(_repeating_pattern(tag))


def _repeating_pattern(tag: int) -> str:
    group = tag >> 24
    if group == 0x50:
        return "50xx,xxxx"
    return f"{group:02x}xx,{tag & 0xFFFF:04X}" if group == 0x60 else ""


@dataclass(frozen=True, slots=True)
class _Table:
    rules: tuple[Rule, ...]
    by_tag: dict[int, Rule]
    repeating: dict[str, Rule]
    private: Rule


@cache
def _table() -> _Table:
    header, *lines = _DATA_FILE.read_text(encoding="ascii").splitlines()
    columns = tuple(Option(name) for name in header.split("\t")[5:])
    rows = tuple(_rule(line, columns) for line in lines)
    return _Table(
        rules=rows,
        by_tag={rule.tag: rule for rule in rows if rule.tag is not None},
        repeating={rule.pattern: rule for rule in rows if "x" in rule.pattern},
        private=rows[-1],
    )


def _rule(line: str, columns: tuple[Option, ...]) -> Rule:
    pattern, keyword, name, vr, basic, *codes = line.split("\t")
    options = {option: _ACTIONS[code] for option, code in zip(columns, codes, strict=True) if code}
    return Rule(pattern, keyword, name, vr, _ACTIONS[basic], MappingProxyType(options))


_ACTIONS: Final = {str(action.value): action for action in Action}
