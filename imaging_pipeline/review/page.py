"""The page: Markdown that reads as well in a terminal, and the same for the same assembly."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from imaging_pipeline.review.facts import Fact, Facts, Section
from imaging_pipeline.review.names import ANYTHING
from imaging_pipeline.review.rights import ASSUMED_BY, BOUNDARY, PROHIBITION

WIDTH: Final = 100
NOTHING: Final[frozenset[Fact]] = frozenset()


def summary(sections: Sequence[Section]) -> Iterator[str]:
    """Write every section; subjects of which the same is true share a line."""
    for section in sections:
        yield from ("", f"## {section.title}", "")
        for subjects, facts in _grouped(section.facts):
            yield from _wrapped(f"- **{subjects}**: {described(facts)}", "  ")
        if not section.facts:
            yield "None."


def changes(now: Sequence[Section], base: Sequence[Section]) -> Iterator[str]:
    """Write what every section gained and lost, and first of all who may do more than before."""
    earlier = {section.title: section.facts for section in base}
    gains = {
        subject: gained
        for section in now
        if section.grants
        for subject, gained in _gains(section.facts, earlier.get(section.title, {})).items()
    }
    yield from ("", "### Who gains rights")
    yield from _marked([("!", gains)]) if gains else ("", "Nobody.")
    for section in now:
        before = earlier.get(section.title, {})
        lost, gained = _difference(before, section.facts), _difference(section.facts, before)
        if lost or gained:
            yield from ("", f"### {section.title}")
            yield from _marked([("-", lost), ("+", gained)])
        else:
            yield from ("", f"### {section.title}: no change")


def described(facts: Iterable[Fact]) -> str:
    """Put facts into one sentence: what is said of the same thing, and things of which the same is said, together."""
    said: dict[tuple[str, str], list[str]] = {}
    for about, says, where in sorted(facts, key=_place):
        said.setdefault((about, where), []).append(says)
    abouts: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for (about, where), of_it in said.items():
        abouts.setdefault((tuple(of_it), where), []).append(about)
    return "; ".join(
        (f"{_enumerated(about)}: {_enumerated(says)}" if any(about) else ", ".join(says))
        + (f" (where {where})" if where else "")
        for (says, where), about in abouts.items()
    )


def _place(fact: Fact) -> tuple[int, Fact]:
    """First what holds for all the rest, last what is about nothing in particular."""
    return {"": 0, ASSUMED_BY: 0, BOUNDARY: 0, ANYTHING: 2}.get(fact.about, 1), fact


def _gains(now: Facts, before: Facts) -> Facts:
    """Rights that are new, and prohibitions and boundaries that are gone."""
    found = {}
    for subject in sorted({*now, *before}):
        new, gone = now.get(subject, NOTHING) - before.get(subject, NOTHING), before.get(subject, NOTHING)
        gone = gone - now.get(subject, NOTHING)
        gained = {fact for fact in new if not _limits(fact)}
        gained |= {fact._replace(says=f"no longer {fact.says}") for fact in gone if _limits(fact)}
        if gained:
            found[subject] = frozenset(gained)
    return found


def _limits(fact: Fact) -> bool:
    return fact.about == BOUNDARY or fact.says.startswith(PROHIBITION)


def _difference(of: Facts, without: Facts) -> Facts:
    """Facts that the one has and the other has not."""
    left = {subject: facts - without.get(subject, NOTHING) for subject, facts in of.items()}
    return {subject: facts for subject, facts in left.items() if facts}


def _marked(marks: Sequence[tuple[str, Facts]]) -> Iterator[str]:
    """Write facts as a code block in which each line begins with its mark, by subject."""
    lines = [
        (subjects, order, line)
        for order, (mark, facts) in enumerate(marks)
        for subjects, of_them in _grouped(facts)
        for line in ["\n".join(_wrapped(f"{mark} {subjects}: {described(of_them)}", f"{mark}   "))]
    ]
    yield from ("", "```diff", *(line for _, _, line in sorted(lines)), "```")


def _grouped(facts: Facts) -> list[tuple[str, frozenset[Fact]]]:
    """Put subjects with the same facts together."""
    subjects: dict[frozenset[Fact], list[str]] = {}
    for subject in sorted(facts):
        subjects.setdefault(facts[subject], []).append(subject)
    return [(_enumerated(names), of_them) for of_them, names in subjects.items()]


def _enumerated(names: Sequence[str]) -> str:
    """Say the words once that all names end with: `raw, processed bucket`."""
    words = [name.split(" ") for name in names]
    shared = 0
    while len({tuple(each[len(each) - shared - 1 :]) for each in words}) == 1 < len(names):
        shared += 1
    if shared == 0 or any(len(each) <= shared for each in words):
        return ", ".join(names)
    nouns = " ".join(words[0][-shared:])
    return f"{', '.join(' '.join(each[:-shared]) for each in words)} {nouns}"


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
