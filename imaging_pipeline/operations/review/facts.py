"""Statements of a review, and how two reviews differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple


class Fact(NamedTuple):
    """One thing that is true of a subject."""

    about: str
    """Resource or property."""
    says: str
    where: str = ""
    """Condition."""


Facts = Mapping[str, frozenset[Fact]]
"""By subject."""
Lines = Mapping[str, str]
"""What the page says, by label."""
PROHIBITION: Final = "denied: "
NOTHING: Final[frozenset[Fact]] = frozenset()


def collected(found: Iterable[tuple[str, Fact]]) -> Facts:
    """Put the facts of each subject together."""
    facts: dict[str, set[Fact]] = {}
    for subject, fact in found:
        facts.setdefault(subject, set()).add(fact)
    return {subject: frozenset(of_it) for subject, of_it in facts.items()}


def difference(of: Facts, without: Facts) -> Facts:
    """Return the facts that only the first has."""
    left = {subject: facts - without.get(subject, NOTHING) for subject, facts in of.items()}
    return {subject: facts for subject, facts in left.items() if facts}


def statements(facts: Facts, *, longest_condition: int = 10_000) -> list[tuple[str, str]]:
    """Return subject and text of each statement, sorted.

    What holds of one thing under one condition is one statement; of a condition longer than that its dots.
    """
    together: dict[tuple[str, str, str, str], list[str]] = {}
    for subject, of_it in facts.items():
        for about, says, where in sorted(of_it):
            effect, colon, action = says.rpartition(PROHIBITION)
            together.setdefault((subject, about, effect + colon, where), []).append(action)
    return [
        (subject, f"{about}: {effect}{', '.join(actions)}{_condition(where, longest_condition)}")
        for (subject, about, effect, where), actions in sorted(together.items())
    ]


def _condition(where: str, longest: int) -> str:
    return f" (where {where if len(where) <= longest else '...'})" if where else ""


def compared(now: Lines, base: Lines | None) -> Lines:
    """Mark lines that are new, changed or gone since the base."""
    if base is None:
        return now
    marked = {label: _marked(value, base.get(label)) for label, value in now.items()}
    return marked | {label: f"**gone** (was: {value})" for label, value in base.items() if label not in now}


def _marked(value: str, was: str | None) -> str:
    if value == was:
        return value
    return f"**{value}** ({'new' if was is None else f'was: {was}'})"
