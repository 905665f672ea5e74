"""DICOM PS3.15 Table E.3.10-1, edition 2026d: private attributes that the standard holds safe, by private creator."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from runtime.dicom.character_sets import decode_text
from runtime.dicom.dictionary import are_alike, effective_vr
from runtime.dicom.elements import Element
from runtime.dicom.header import Header

_DATA_FILE: Final = Path(__file__).with_name("safe_private.tsv")
_PRIVATE: Final = 0x10000


def is_safe_private(creator: str, group: int, element_low_byte: int) -> bool:
    """Tell whether the Retain Safe Private Option may keep a private attribute.

    Parameters
    ----------
    creator : str
        Value of the private creator element that reserves the attribute's block, without padding; case matters.
    group : int
        The attribute's group.
    element_low_byte : int
        Its element within the block, 0x00 to 0xFF.
    """
    return (creator, group, element_low_byte) in safe_private_table()


def safe_private_attributes(header: Header, elements: list[Element], codecs: tuple[str, ...]) -> dict[int, str]:
    """Return the VRs of a data set's safe private attributes and of the creators that reserve their blocks.

    The VR is the file's, the table's where the file has none. One that contradicts the table's is not what the table
    holds safe.
    """
    table = safe_private_table()
    safe: dict[int, str] = {}
    creators: dict[int, str] = {}
    for element in elements:
        tag = element.tag
        if not tag & _PRIVATE:
            continue
        if 0x10 <= tag & 0xFFFF <= 0xFF:
            creators[tag] = decode_text(header.value(element), codecs).strip("\0 ")
            continue
        reserved_by = tag & 0xFFFF0000 | tag >> 8 & 0xFF
        block = creators.get(reserved_by), tag >> 16, tag & 0xFF
        listed = table.get(block)  # type: ignore[arg-type]
        if listed is None:
            continue
        own = effective_vr(tag, element.vr)
        first = listed.partition(" or ")[0]
        if own == "UN" or not first or first == "UN" or are_alike(own, first):
            safe[reserved_by] = "LO"
            safe[tag] = own if own != "UN" else listed or own
    return safe


@cache
def safe_private_table() -> dict[tuple[str, int, int], str]:
    """Return the VR of each attribute by creator, group and low byte of its element; empty where the table has none."""
    rows = (line.split("\t") for line in _DATA_FILE.read_text(encoding="ascii").splitlines()[1:])
    return {(creator, int(group, 16), int(element, 16)): vr for creator, group, element, vr in rows}
