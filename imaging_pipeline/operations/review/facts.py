"""The form of a review: facts about subjects, in sections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Fact(NamedTuple):
    """One thing that is true of a subject. Two reviews are compared fact by fact."""

    about: str
    """What it is about, such as the resource of a right; empty where that is the subject itself."""
    says: str
    where: str = ""
    """The condition under which it is true."""


Facts = Mapping[str, frozenset[Fact]]


@dataclass(frozen=True)
class Section:
    """A part of the review.

    Attributes
    ----------
    title
        Its heading.
    facts
        By subject.
    grants
        These facts are rights.
    """

    title: str
    facts: Facts
    grants: bool = False


def collected(found: Iterable[tuple[str, Fact]]) -> Facts:
    """Put the facts of each subject together."""
    facts: dict[str, set[Fact]] = {}
    for subject, fact in found:
        facts.setdefault(subject, set()).add(fact)
    return {subject: frozenset(of_it) for subject, of_it in facts.items()}


def plain(subject: str, said: Iterable[str]) -> Iterator[tuple[str, Fact]]:
    """Return facts about the subject itself."""
    return ((subject, Fact("", each)) for each in said)
