"""Text in the character sets of DICOM PS3.5 6.1, decoded and encoded so that an unchanged part keeps its bytes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from pydicom.charset import convert_encodings, decode_bytes, encode_string
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

DEFAULT_CODECS: Final = ("iso8859",)
"""Codecs of a data set without Specific Character Set: ASCII, with any other byte kept as it is."""
_ESCAPE: Final = b"\x1b"
_DELIMITED: Final = re.compile(r"([\\^=\r\n\f\t]+)")


def read_ascii(value: bytes) -> str:
    """Return an encoded value in the default repertoire without padding, whatever else is in it replaced."""
    return value.decode("ascii", "replace").strip("\0 ")


def read_text(value: bytes, codecs: tuple[str, ...], *, person_name: bool = False) -> str:
    """Return an encoded value in a specific character set without padding."""
    return decode_text(value, codecs, person_name=person_name).strip("\0 ")


@lru_cache(maxsize=256)
def codecs_of(specific_character_set: bytes) -> tuple[str, ...]:
    """Return the codecs for an encoded value of Specific Character Set (0008,0005).

    Terms that DICOM doesn't define count as the default repertoire.
    """
    terms = [term.strip() for term in read_ascii(specific_character_set).split("\\")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return tuple(convert_encodings(terms))
        except (LookupError, ValueError):  # the latter of a term with a NUL in it
            return DEFAULT_CODECS


def decode_text(value: bytes, codecs: tuple[str, ...], *, person_name: bool = False) -> str:
    """Decode an encoded value; bytes that its character set doesn't define survive a round trip where they can."""
    if len(codecs) == 1 and _ESCAPE not in value:
        return value.decode(codecs[0], "surrogateescape")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return decode_bytes(value, codecs, PN_DELIMS if person_name else TEXT_VR_DELIMS)


def readings(value: bytes, declared: Iterable[tuple[str, ...]]) -> set[str]:
    """Return a value as its declared character sets have it, and as it is in UTF-8 or Latin-1 if it may be in these.

    Text gets into headers by software that knows nothing of their character set; readers show it as they please.
    """
    if value.isascii() and _ESCAPE not in value:
        return {value.decode("ascii")}
    found = {decode_text(value, codecs) for codecs in declared}
    try:
        found.add(value.decode("utf-8"))
    except UnicodeDecodeError:
        found.add(value.decode("latin-1"))
    return found


def encode_text(text: str, codecs: tuple[str, ...]) -> bytes:
    """Encode a text that was decoded with these codecs.

    With code extensions each delimited part starts anew, since delimiters reset them (DICOM PS3.5 6.1.2.5.3).
    """
    if len(codecs) == 1:
        return text.encode(codecs[0], _errors(codecs[0], text))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return b"".join(encode_string(part, codecs) for part in _DELIMITED.split(text) if part)


def _errors(codec: str, text: str) -> str:
    """Return how to treat what the codec can't encode: only bytes that it couldn't decode come back as they were."""
    try:
        text.encode(codec, "surrogateescape")
    except UnicodeEncodeError:
        return "replace"
    return "surrogateescape"
