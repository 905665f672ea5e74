"""People and places in free text: those that the header names, and whoever a title or a label introduces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import permutations
from typing import Final, NamedTuple

from runtime.deidentification.text.edits import Edit
from runtime.deidentification.text.words import Word, clinical_words, fold, is_ideographic, spellings, words

_PARTICLES: Final = frozenset(
    {
        "van",
        "von",
        "der",
        "den",
        "des",
        "del",
        "della",
        "di",
        "da",
        "do",
        "dos",
        "das",
        "de",
        "du",
        "la",
        "le",
        "las",
        "los",
        "el",
        "al",
        "ben",
        "bin",
        "bint",
        "ibn",
        "abu",
        "abd",
        "st",
        "ter",
        "ten",
        "zu",
        "zur",
        "y",
        "e",
        "and",
        "und",
        "et",
        "of",
        "the",
        "for",
        "at",
        "in",
        "on",
        "to",
    }
)
_TITLES: Final = frozenset(
    {
        "dr",
        "prof",
        "professor",
        "mr",
        "mrs",
        "ms",
        "miss",
        "herr",
        "herrn",
        "frau",
        "mme",
        "mlle",
        "madame",
        "monsieur",
        "doctor",
        "docteur",
        "doktor",
        "dott",
        "sra",
        "senor",
        "senora",
    }
)
_AFTER_TITLE: Final = _TITLES | {"med", "dent", "habil", "phil", "rer", "nat", "univ", "hc"}
# Abbreviations of a modality, of a disease: titles only where they are written as such.
_AMBIGUOUS_TITLES: Final = frozenset({"mr", "ms"})
_LABELS: Final = frozenset(
    {
        "name",
        "patient",
        "pt",
        "physician",
        "radiologist",
        "technologist",
        "technician",
        "tech",
        "operator",
        "attending",
        "surgeon",
        "nurse",
        "referring",
        "requesting",
        "resident",
        "reader",
        "author",
        "by",
        "doctor",
        "arzt",
        "radiologe",
        "patientin",
        "befunder",
    }
)
_PARTICIPLES: Final = frozenset(
    {
        "read",
        "dictated",
        "reported",
        "performed",
        "interpreted",
        "reviewed",
        "approved",
        "signed",
        "ordered",
        "requested",
        "referred",
        "verified",
        "scanned",
        "transcribed",
        "acquired",
        "examined",
        "seen",
    }
)
_INTRODUCERS: Final = _TITLES | _LABELS
_CUES: Final = _TITLES | _LABELS | {"with"}
_MOST_NAME_WORDS: Final = 3
_MOST_TITLES: Final = 4
_JOINS: Final = frozenset(" \t,.^=_'\u2019-/&\u3000\u30fb")
_NAME_SEPARATOR: Final = re.compile(r"[ .,^'\u2019-]{0,2}")
_NOT_LETTERS: Final = re.compile(r"[\W\d_]+")


class _Entry(NamedTuple):
    """A word as a part of names: whether it identifies alone, and whose names hold it (a bit each)."""

    alone: bool
    entities: int


class People:
    """Finds the names of people and places in a text.

    A name's word goes wherever it stands, unless it is a clinical word, a particle or shorter than three letters: such
    a word goes next to another word of the same name, or where a title or the flow of the sentence shows that it is a
    name. A place's clinical words ("General Hospital") go only if all of the place's words are there.

    Parameters
    ----------
    people
        PN values.
    places
        Names of places, addresses.
    """

    def __init__(self, people: Iterable[str], places: Iterable[str]) -> None:
        self._clinical = clinical_words()
        self._entries: dict[str, _Entry] = {}
        self._needed: list[int] = []
        for person in people:
            for group in person.split("="):
                self._add_person(group)
        for place in places:
            for part in re.split(r"[,;\r\n^]+", place):
                self._add_place(part)

    def edits(self, text: str) -> Iterator[Edit]:
        """Yield a cut for each name, and for each person that a title or a label introduces."""
        found = words(text)
        yield from self._named(text, found)
        yield from self._introduced(text, found)

    def may_edit(self, folded: Set[str]) -> bool:
        """Tell whether a text of these folded words may hold a person or a place."""
        return not (self._entries.keys().isdisjoint(filter(_is_no_initial, folded)) and folded.isdisjoint(_INTRODUCERS))

    def reveals(self, text: str, folded: Set[str] | None) -> bool:
        """Tell whether the text holds one of the names; its folded words, where they are known, may tell at once."""
        if folded is not None and self._entries.keys().isdisjoint(filter(_is_no_initial, folded)):
            return False
        return any(self._named(text, words(text)))

    def _add_person(self, group: str) -> None:
        entity = self._new_entity(2)
        components = [[part for part in _NOT_LETTERS.split(component) if part] for component in group.split("^")]
        for part in (part for component in components for part in component):
            self._add(part, entity)
            self._insert(fold(part)[:1], entity, alone=False)
        names = [component for component in components[:2] if component]
        if len(names) == 1:
            names = [[part] for part in names[0]][:3]
        joined = ["".join(name) for name in names]
        for name in joined:
            self._add(name, entity)
        for first, second in permutations(joined, 2):
            self._add(first + second, entity)
            if len(second) > 2:
                self._add(first[0] + second, entity)
                self._add(second + first[0], entity)

    def _add_place(self, place: str) -> None:
        parts = [part for part in _NOT_LETTERS.split(place) if part]
        entity = self._new_entity(max(2, len({fold(part) for part in parts} - _PARTICLES)))
        for part in parts:
            self._add(part, entity)

    def _new_entity(self, needed: int) -> int:
        self._needed.append(needed)
        return 1 << len(self._needed) - 1

    def _add(self, part: str, entity: int) -> None:
        if is_ideographic(part):
            return
        for folded in spellings(part):
            alone = len(folded) > 2 and folded not in self._clinical and folded not in _PARTICLES
            self._insert(folded, entity, alone=alone)
            if alone and len(folded) > 4:
                self._insert(f"{folded}s", entity, alone=f"{folded}s" not in self._clinical)

    def _insert(self, folded: str, entity: int, *, alone: bool) -> None:
        known = self._entries.get(folded)
        self._entries[folded] = _Entry(alone, entity | (known.entities if known else 0))

    def _named(self, text: str, found: Sequence[Word]) -> Iterator[Edit]:
        run: list[Word] = []
        for position, word in enumerate(found):
            if word.folded not in self._entries:
                continue
            if run and not _joined(text, run[-1], word):
                yield from self._cut_run(text, run)
                run = []
            run.append(word)
            if self._reads_as_a_name(text, found, position):
                yield Edit(word.start, word.end)
        yield from self._cut_run(text, run)

    def _cut_run(self, text: str, run: Sequence[Word]) -> Iterator[Edit]:
        """Yield the cuts in a run of adjacent words that are parts of names."""
        identified = 0
        for word in run:
            if self._identifies_alone(word):
                identified |= self._entries[word.folded].entities
        for index, needed in enumerate(self._needed if len(run) > 1 else ()):
            entity = 1 << index
            parts = {w.folded for w in run if self._entries[w.folded].entities & entity and _counts(text, w)}
            if len(parts) >= needed and any(map(_is_no_initial, parts)):
                identified |= entity
        cut = [word for word in run if self._entries[word.folded].entities & identified and _counts_beside(text, word)]
        for first, last in _stretches(run, cut):
            yield Edit(first.start, last.end + (len(last.source) == 1 and text[last.end : last.end + 1] == "."))

    def _identifies_alone(self, word: Word) -> bool:
        if self._entries[word.folded].alone:
            return True
        return len(word.source) == 2 and word.source.istitle() and not self._is_ordinary(word.folded)

    def _is_ordinary(self, folded: str) -> bool:
        return folded in self._clinical or folded in _PARTICLES

    def _reads_as_a_name(self, text: str, found: Sequence[Word], position: int) -> bool:
        """Tell whether an ordinary word is used as a name: after a title, or capitalised amid lower case."""
        word = found[position]
        if len(word.source) < 2 or not word.source[0].isupper() or position == 0 or word.folded in _PARTICLES:
            return False
        before = found[position - 1]
        gap = text[before.end : word.start]
        if len(gap) > 3 or gap.strip(" .:"):
            return False
        if before.folded in _CUES and (before.folded in _TITLES or not word.source.isupper()):
            return before.source not in {"DR", "MR", "MS"} or "." in gap
        after = found[position + 1] if position + 1 < len(found) else None
        amid_lower_case = before.source.islower() and (after is None or after.source.islower())
        return gap == " " and word.source.istitle() and amid_lower_case

    def _introduced(self, text: str, found: Sequence[Word]) -> Iterator[Edit]:
        for position, word in enumerate(found):
            if word.folded in _TITLES:
                names = self._names_after_title(text, found, position)
                if names:
                    yield Edit(word.start, names[-1].end)
            elif word.folded in _LABELS and self._introduces(text, found, position):
                names = self._names_after(text, found, position, proven=False)
                if names:
                    yield Edit(names[0].start, names[-1].end)

    def _introduces(self, text: str, found: Sequence[Word], position: int) -> bool:
        word = found[position]
        if re.match(r"\s?[:=]", text[word.end : word.end + 2]):
            return True
        return word.folded == "by" and position > 0 and found[position - 1].folded in _PARTICIPLES

    def _names_after_title(self, text: str, found: Sequence[Word], position: int) -> list[Word]:
        word = found[position]
        dotted = text[word.end : word.end + 1] == "."
        if word.folded in _AMBIGUOUS_TITLES and not dotted and not word.source.istitle():
            return []
        for title in found[position + 1 : position + 1 + _MOST_TITLES]:
            if title.folded not in _AFTER_TITLE or title.source.isupper():
                break
            position += 1
        return self._names_after(text, found, position, proven=not word.source.isupper())

    def _names_after(self, text: str, found: Sequence[Word], position: int, *, proven: bool) -> list[Word]:
        """Return the words after a title or a label that make up a name.

        `proven` says that the first one is a name whatever it is.
        """
        names: list[Word] = []
        end = found[position].end
        for word in found[position + 1 : position + 2 + _MOST_NAME_WORDS]:
            gap = text[end : word.start]
            separator = r"\s?[:=.]{0,2} {0,2}" if not names else _NAME_SEPARATOR
            if word.start < end or len(names) == _MOST_NAME_WORDS or not re.fullmatch(separator, gap):
                break
            ordinary = self._is_ordinary(word.folded) and not (proven and not names and word.source.istitle())
            if not word.source[0].isupper() or ordinary:
                break
            names.append(word)
            end = word.end
        return names if any(len(word.source) > 1 for word in names) else []


def _is_no_initial(folded: str) -> bool:
    return len(folded) > 1


def _joined(text: str, before: Word, after: Word) -> bool:
    gap = text[before.end : after.start]
    return after.start < before.end or (len(gap) <= 3 and _JOINS.issuperset(gap))


def _counts(text: str, word: Word) -> bool:
    """Tell whether an ordinary word counts towards a name: an initial only with the punctuation of one."""
    if word.folded in _PARTICLES:
        return False
    return len(word.source) > 1 or (
        word.source.isupper()
        and (
            text[word.end : word.end + 1] in {".", "^"}
            or text[max(0, word.start - 2) : word.start].strip(" ") in {",", "^"}
        )
    )


def _counts_beside(text: str, word: Word) -> bool:
    """Tell whether a word next to a name belongs to it: the T of `T2` doesn't."""
    if len(word.source) > 1:
        return True
    return word.source.isupper() and not text[word.end : word.end + 1].isdigit()


def _stretches(run: Sequence[Word], cut: Sequence[Word]) -> Iterator[tuple[Word, Word]]:
    """Yield the first and last words of the parts of the run that are cut as a whole."""
    chosen = set(cut)
    stretch: list[Word] = []
    for word in run:
        if word in chosen:
            stretch.append(word)
        elif stretch:
            yield stretch[0], max(stretch, key=lambda w: w.end)
            stretch = []
    if stretch:
        yield stretch[0], max(stretch, key=lambda w: w.end)
