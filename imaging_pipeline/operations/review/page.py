"""The page: Markdown that reads as well in a terminal, and the same for the same assembly."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from imaging_pipeline.operations.review.facts import Fact, Facts, Section
from imaging_pipeline.operations.review.names import ANYTHING
from imaging_pipeline.operations.review.rights import ASSUMED_BY, BOUNDARY, PROHIBITION

WIDTH: Final = 120
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
    conditions: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (about, where), of_it in said.items():
        conditions.setdefault((about, tuple(of_it)), []).append(where)
    abouts: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (about, says_all), wheres in conditions.items():
        abouts.setdefault((says_all, tuple(wheres)), []).append(about)
    return "; ".join(_clause(about, says, wheres) for (says, wheres), about in abouts.items())


def _clause(about: Sequence[str], says: Sequence[str], wheres: Sequence[str]) -> str:
    denied = [each.removeprefix(PROHIBITION) for each in says if each.startswith(PROHIBITION)]
    said = [each for each in says if not each.startswith(PROHIBITION)]
    together = _together if any(about) else ", ".join
    parts = [together(said)] if said else []
    parts += [PROHIBITION + together(denied)] if denied else []
    subject = f"{_enumerated(about)}: " if any(about) else ""
    condition = "" if "" in wheres else _either(wheres)  # what holds always holds under any condition
    return subject + "; ".join(parts) + (f" (where {condition})" if condition else "")


def _either(wheres: Sequence[str]) -> str:
    """Say once what conditions ask for, where they differ in its value alone."""
    asked = {where.rpartition(" is ")[0] for where in wheres}
    if len(wheres) > 1 and len(asked) == 1:
        return f"{asked.pop()} is any of {_enumerated([where.rpartition(' is ')[2] for where in wheres])}"
    return "; or ".join(wheres)


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
    """List names by their last word, and say that once: `raw, processed bucket, ledger table`."""
    nouns: dict[str, list[str]] = {}
    for name in names:
        nouns.setdefault(name.split(" ")[-1], []).append(name)
    return ", ".join(_together(alike) for alike in nouns.values())


def _together(phrases: Sequence[str]) -> str:
    """List phrases, and say the words once that all of them end with: `reads, writes objects`."""
    words = [phrase.split(" ") for phrase in phrases]
    shared = 0
    while len({tuple(each[len(each) - shared - 1 :]) for each in words}) == 1 < len(phrases):
        shared += 1
    if shared == 0 or any(len(each) <= shared for each in words):
        return ", ".join(phrases)
    ending = " ".join(words[0][-shared:])
    return f"{', '.join(' '.join(each[:-shared]) for each in words)} {ending}"


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
