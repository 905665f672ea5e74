"""Words as they are compared: folded to one spelling, in any script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib import resources
from typing import Final, NamedTuple

_ASCII_WORD: Final = re.compile(r"[A-Za-z]+")
# Latin letters with their combining marks, or letters of other scripts: a Japanese sentence may hold a Latin name.
_LATIN: Final = (
    "A-Za-z\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af"
    "\u0300-\u036f\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a"
)
_WORD: Final = re.compile(rf"[{_LATIN}]+|(?:(?![{_LATIN}])[^\W\d_])+")
_SUBWORD: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
_CAMEL_CASE: Final = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]")

_UNDECOMPOSED: Final = str.maketrans(
    {"ø": "o", "æ": "ae", "œ": "oe", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "\u0131": "i", "ħ": "h"}
)
_KATAKANA_TO_HIRAGANA: Final = {katakana: katakana - 0x60 for katakana in range(0x30A1, 0x30F7)}
_TRANSCRIBED: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
_FIRST_IDEOGRAPHIC: Final = "\u2e80"


class Word(NamedTuple):
    """A word of a text: where it is, as it is written, and folded."""

    start: int
    end: int
    source: str
    folded: str


def words(text: str) -> list[Word]:
    """Split a text into its words, also where capitals do (``JaneDoe``), the larger word first."""
    pattern = _ASCII_WORD if text.isascii() else _WORD
    found = [Word(m.start(), m.end(), m[0], fold(m[0])) for m in pattern.finditer(text)]
    return list(_with_subwords(found)) if not text.isascii() or _CAMEL_CASE.search(text) else found


def folded_words(text: str) -> set[str]:
    """Return the folded words of an ASCII text, for a look whether any of them matters."""
    found = set(_ASCII_WORD.findall(text.lower()))
    if _CAMEL_CASE.search(text):
        found.update(word.lower() for word in _SUBWORD.findall(text))
    return found


def _with_subwords(found: list[Word]) -> Iterator[Word]:
    for word in found:
        yield word
        shape = word.source if word.source.isascii() else "".join("aA"[c.isupper()] for c in word.source)
        if _CAMEL_CASE.search(shape):
            for match in _SUBWORD.finditer(shape):
                start, end = match.span()
                part = word.source[start:end]
                yield Word(word.start + start, word.start + end, part, fold(part))


def fold(text: str) -> str:
    """Return the text in lower case, without diacritics, full-width and half-width forms, and kana in hiragana."""
    return text.lower() if text.isascii() else _fold(text)


@lru_cache(maxsize=4096)
def _fold(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.casefold().translate(_UNDECOMPOSED))
    folded = "".join(character for character in folded if unicodedata.category(character) != "Mn")
    return unicodedata.normalize("NFC", folded).casefold().translate(_KATAKANA_TO_HIRAGANA)


def spellings(text: str) -> set[str]:
    """Return a name's folded spellings: Müller, Mueller and Muller are one."""
    folded = fold(text)
    found = {folded}
    if not text.isascii():
        found.add(fold(unicodedata.normalize("NFC", text.lower()).translate(_TRANSCRIBED)))
    if len(folded) > 4 and "e" in folded:
        contracted = folded.replace("ae", "a").replace("oe", "o").replace("ue", "u")
        found |= {contracted} if len(contracted) > 3 else set()
    return found


def is_ideographic(text: str) -> bool:
    """Tell whether the text is written in a script of East Asia, which needs no spaces between words."""
    return not text.isascii() and max(text, default="") >= _FIRST_IDEOGRAPHIC


@cache
def clinical_words() -> frozenset[str]:
    """Return the words that stay in a text when they stand alone, though they may be somebody's name."""
    lines = resources.files(__package__).joinpath("clinical_words.txt").read_text("utf-8").splitlines()
    return frozenset(word for line in lines for word in line.partition("#")[0].split())
