"""Markers that stand in for PHI, and a search that finds each of them however it was encoded.

A marker has a shape of its own, which nothing else has: that makes a search for thousands of them one for a few
patterns. What a log, a URL or a document may have done to a marker is undone before: escapes, percent-encoding,
Base64, digits of bytes, and character sets that were taken for others.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import cache
from urllib.parse import unquote_to_bytes

DEPTH = 3
"""Encodings on top of each other that are undone, as a percent-encoded key in JSON in Base64."""

UID_ROOT = "1.2.826.0.1.3680043.10.7310."
CHARACTER_SETS = ("utf-8", "shift_jis", "iso2022_jp", "gb18030")
WIDE_CHARACTER_SETS = ("utf-16-le", "utf-16-be")


class Script(Enum):
    """Letters that a marker may be written in: the frame at both ends, and sixteen digits between.

    A frame reads otherwise from behind, or a marker that was reversed would be another one.
    """

    ASCII = "QZ", "BCDFGHJKLMNPRSTV"
    LATIN = "ØÞ", "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏ"
    GREEK = "ωψ", "αβγδεζηθικλμνξοπ"
    KATAKANA = "ﾝﾜ", "ｱｲｳｴｵｶｷｸｹｺｻｼｽｾｿﾀ"
    JAPANESE = "東西", "山川田中木村林森石井上下大小高松"
    CHINESE = "龙凤", "张王李赵陈刘杨黄周吴徐孙马朱胡郭"

    def marker(self, number: int) -> str:
        """Return the marker of a number below 65,536: no word of any language, and valid in every VR of text."""
        frame, digits = self.value
        return f"{frame}{''.join(digits[number >> shift & 0xF] for shift in (12, 8, 4, 0))}{frame}"

    @property
    def shape(self) -> str:
        """Pattern of this script's markers, folded."""
        frame, digits = map(_folded, self.value)
        return f"{frame}[{digits}]{{4}}{frame}"


def _folded(text: str) -> str:
    """Return a text without what differs between spellings of the same: case, width, composition."""
    return unicodedata.normalize("NFKC", text).casefold()


# Each pattern begins with a literal, by which it is found fast in megabytes.
_WORDS = tuple(re.compile(shape) for shape in (*(script.shape for script in Script), re.escape(UID_ROOT) + r"\d+"))
_NUMBERS = tuple(
    re.compile(shape)
    for shape in (
        r"19[3-7]\d-?\d\d-?\d\d(?:0102\d\d\.\d{6})?(?!\w|\.\d)",  # DA and DT
        r"0102\d\d\.\d{1,6}(?!\d)",  # TM
        r"7310\.\d{1,5}(?!\d)",  # DS
        r"731\d{5}(?!\w|\.\d)",  # IS
    )
)


def _shapes_in(folded: str) -> Iterator[str]:
    """Yield what has the shape of a marker; a number only where it is one by itself."""
    for pattern in _WORDS:
        yield from pattern.findall(folded)
        yield from pattern.findall(folded[::-1])
    for pattern in _NUMBERS:
        for match in pattern.finditer(folded):
            before = folded[match.start() - 1 : match.start()]
            if not before.isalnum() and before not in {".", "_"}:
                yield match[0]


@cache
def _canonical(marker: str) -> str:
    """Return the one spelling of a marker by which it is told from others: folded, dates and numbers without style."""
    folded = _folded(marker)
    if not folded[0].isdigit() or folded.startswith(UID_ROOT):
        return folded
    plain = folded.replace("-", "")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _spellings(frame: str) -> Iterator[str]:
    """Yield a frame as it may be spelled, from both ends."""
    for cased in (frame, frame.lower(), frame.upper(), frame.swapcase()):
        for form in ("NFC", "NFD", "NFKC"):
            spelled = unicodedata.normalize(form, cased)
            yield from (spelled, spelled[::-1])


_CUES = frozenset(("19", "0102", "731", *(cue for script in Script for cue in _spellings(script.value[0]))))
"""Without one of them a reading has no marker: most readings are of what was never encoded so."""


class Search:
    """A search for markers.

    Parameters
    ----------
    markers
        What is looked for. Each must have a shape, or it could not be found.
    """

    def __init__(self, markers: Iterable[str] = ()) -> None:
        self._markers: dict[str, str] = {}
        self.add(markers)

    def add(self, markers: Iterable[str]) -> None:
        """Look for these too."""
        for marker in markers:
            shape = next(_shapes_in(_folded(marker)), None)
            assert shape, f"a search could not find {marker!r}"
            self._markers[_canonical(shape)] = marker

    def find(self, content: str | bytes, *, depth: int = DEPTH) -> set[str]:
        """Return the markers that are in a text or in bytes, in any encoding.

        Parameters
        ----------
        content
            Where to look.
        depth
            Encodings on top of each other that are undone; 0: only character sets and spellings.
        """
        text = content if isinstance(content, str) else content.decode("latin-1")
        found: set[str] = set()
        for view in set(_readings(text, depth)):
            if any(cue in view for cue in _CUES):
                found.update(map(_canonical, _shapes_in(_folded(view))))
        return {self._markers[marker] for marker in found if marker in self._markers}


def _readings(text: str, depth: int) -> Iterator[str]:
    """Yield a text as it is and with its encodings undone, each in every character set that it may be in."""
    views, newest = {text}, {text}
    for _ in range(depth):
        newest = {undone for view in newest for decode in _DECODERS if (undone := decode(view))} - views
        views |= newest
    for view in views:
        yield view
        octets = view.encode("latin-1", "ignore")
        for character_set in WIDE_CHARACTER_SETS:
            yield from (octets[start:].decode(character_set, "ignore") for start in (0, 1))
        if not view.isascii() or "\x1b" in view:
            yield from (octets.decode(character_set, "ignore") for character_set in CHARACTER_SETS)


def _percent(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode("latin-1") if "%" in text else ""


_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|([0-7]{3})|(.))", re.DOTALL)


def _backslashes(text: str) -> str:
    """Undo the escapes of JSON, Python and shells."""

    def character(match: re.Match[str]) -> str:
        *hexadecimal, octal, other = match.groups()
        digits = next(filter(None, hexadecimal), None)
        if digits is not None or octal is not None:
            code = int(digits, 16) if digits is not None else int(octal, 8)
            return chr(code) if code < 0x110000 else ""
        return str(other)

    return _ESCAPE.sub(character, text) if "\\" in text else ""


def _entities(text: str) -> str:
    return html.unescape(text) if "&" in text else ""


_QUOTED = re.compile(r"=([0-9A-F]{2})|=\r?\n")


def _quoted_printable(text: str) -> str:
    return _QUOTED.sub(lambda match: chr(int(match[1], 16)) if match[1] else "", text) if "=" in text else ""


_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{11,}")
_HEX = re.compile(r"(?:(?:\\x|0x|%)?[0-9a-fA-F]{2}[ :,-]{0,2}){6,}")
_DECIMALS = re.compile(r"(?:\d{1,3},\s?){5,}\d{1,3}")


def _base64(text: str) -> str:
    """Decode whatever may be Base64, from each of the four places where its first group may begin."""
    runs = {run.translate({ord("-"): "+", ord("_"): "/"}) for run in _BASE64.findall(text)}
    decoded = []
    for run in runs:
        for start in range(4):
            whole = (len(run) - start) // 4 * 4
            rest = run[start + whole :]
            padded = run[start:] + "=" * (-len(rest) % 4) if len(rest) > 1 else run[start : start + whole]
            decoded.append(base64.b64decode(padded).decode("latin-1"))
    return "\n".join(decoded)


def _hexadecimal(text: str) -> str:
    decoded = []
    for run in set(_HEX.findall(text)):
        digits = re.sub(r"\\x|0x|[^0-9a-fA-F]", "", run)
        for start in (0, 1):
            whole = digits[start:]
            decoded.append(binascii.unhexlify(whole[: len(whole) // 2 * 2]).decode("latin-1"))
    return "\n".join(decoded)


def _decimals(text: str) -> str:
    lists = ([int(number) for number in run.split(",")] for run in set(_DECIMALS.findall(text)))
    return "\n".join("".join(map(chr, numbers)) for numbers in lists)


_DECODERS: tuple[Callable[[str], str], ...] = (
    _percent,
    _backslashes,
    _entities,
    _quoted_printable,
    _base64,
    _hexadecimal,
    _decimals,
)
