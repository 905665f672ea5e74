"""The data dictionary of DICOM PS3.6: which attributes there are, and what an element's value is by it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Final

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VR

from runtime.dicom.tags import is_private, is_private_creator
from runtime.dicom.vr import OPAQUE_VRS, TEXT_VRS, VRS

_KNOWN_VRS: Final = VRS - {"UN"}
_KINDS: Final = (
    TEXT_VRS | {"UR"},
    {"DS", "IS"},
    {"AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"},
    OPAQUE_VRS - {"UN"},
)
_KIND_OF_VR: Final = {vr: kind for kind, vrs in enumerate(_KINDS) for vr in vrs}


def dictionary_entries() -> Iterable[tuple[int, str, str]]:
    """Yield tag, VR and keyword of each attribute of DICOM PS3.6, those of repeating groups aside."""
    return ((tag, entry[0], entry[4]) for tag, entry in DicomDictionary.items())


@cache
def dictionary_vr(tag: int) -> str:
    """Return the VR that DICOM PS3.6 gives a tag; the wider one where it leaves a choice; UN where it knows none."""
    vr = _entry_vr(tag)
    if " or " not in vr:
        return vr
    return "OW" if "OW" in vr else "US"


@lru_cache(maxsize=65536)
def effective_vr(tag: int, vr: str) -> str:
    """Return the VR by which an element's value is to be understood, whatever VR its file gives it.

    The dictionary's; the file's only where the dictionary leaves a choice that it is in, or says nothing.
    """
    entry = _entry_vr(tag)
    if entry == "UN":
        return vr if vr in _KNOWN_VRS else "UN"
    return vr if vr in entry.split(" or ") else dictionary_vr(tag)


@lru_cache(maxsize=65536)
def is_compatible(tag: int, vr: str) -> bool:
    """Tell whether a value in a file's VR can be what the dictionary says: text is no number, a sequence no text."""
    entry = effective_vr(tag, vr)
    return vr not in _KNOWN_VRS or vr == entry or are_alike(vr, entry)


def are_alike(vr: str, other: str) -> bool:
    """Tell whether two VRs are kinds of text, of numbers as text, of binary numbers, or of opaque bytes alike."""
    kind = _KIND_OF_VR.get(vr)
    return vr == other or (kind is not None and kind == _KIND_OF_VR.get(other))


def _entry_vr(tag: int) -> str:
    if tag & 0xFFFF == 0:
        return "UL"
    if is_private(tag):
        return "LO" if is_private_creator(tag) else "UN"
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"
