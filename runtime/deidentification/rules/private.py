"""DICOM PS3.15 Table E.3.10-1, edition 2026d: private attributes that the standard holds safe, by private creator."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from runtime.deidentification.rules.decision import (
    CREATOR,
    IDLE_CREATOR,
    PRIVATE_MISREPRESENTED,
    PRIVATE_NOT_LISTED,
    Decision,
    safe_private,
)
from runtime.deidentification.rules.table import Action
from runtime.dicom.character_sets import read_text
from runtime.dicom.dictionary import are_alike, effective_vr
from runtime.dicom.elements import Element
from runtime.dicom.header import Header
from runtime.dicom.tags import is_private, is_private_creator, private_creator_of
from runtime.dicom.vr import DATE_VRS, TEXT_VRS

_DATA_FILE: Final = Path(__file__).with_name("safe_private.tsv")


def decide_private(tag: int, creator: str | None) -> Decision:
    """Return what the Retain Safe Private Option does to a private attribute with the VR that the table gives it.

    Parameters
    ----------
    tag
        Group and element in one number.
    creator
        Value of the private creator element that reserves the attribute's block, without padding; case matters.
    """
    if is_private_creator(tag):
        return CREATOR
    listed = safe_private_table().get((creator or "", tag >> 16, tag & 0xFF))
    return PRIVATE_NOT_LISTED if listed is None else _decide_listed("UN", listed)


def decide_private_attributes(
    header: Header, elements: Iterable[Element], codecs: tuple[str, ...]
) -> dict[int, Decision]:
    """Return what the Retain Safe Private Option does to a data set's private elements, by their offsets.

    Left out are those that the table doesn't list.
    """
    table = safe_private_table()
    decisions: dict[int, Decision] = {}
    creators: dict[int, tuple[str, int]] = {}
    for element in elements:
        tag = element.tag
        if not is_private(tag):
            continue
        creator = creators.get(private_creator_of(tag))
        if creator is None:
            if is_private_creator(tag):
                creators[tag] = read_text(header.value(element), codecs), element.start
                decisions[element.start] = IDLE_CREATOR
            continue
        listed = table.get((creator[0], tag >> 16, tag & 0xFF))
        if listed is None:
            continue
        vr = effective_vr(tag, element.vr)
        decision = _decide_listed(vr, listed, is_sequence=element.items is not None)
        decisions[element.start] = decision
        if decision is not PRIVATE_MISREPRESENTED:
            decisions[creator[1]] = CREATOR
    return decisions


def _decide_listed(vr: str, listed: str, *, is_sequence: bool = False) -> Decision:
    first = listed.partition(" or ")[0]
    if vr != "UN" and first not in ("", "UN") and not are_alike(vr, first):
        return PRIVATE_MISREPRESENTED
    if is_sequence:  # whose attributes are decided one by one
        return safe_private(Action.KEEP)
    return safe_private(_ACTIONS.get(listed if vr == "UN" else vr, Action.KEEP))


@cache
def safe_private_table() -> dict[tuple[str, int, int], str]:
    """Return the VR of each attribute by creator, group and low byte of its element; empty where the table has none."""
    rows = (line.split("\t") for line in _DATA_FILE.read_text(encoding="ascii").splitlines()[1:])
    return {(creator, int(group, 16), int(element, 16)): vr for creator, group, element, vr in rows}


_ACTIONS: Final = {
    "PN": Action.EMPTY,
    "UI": Action.MAP_UID,
    **dict.fromkeys(TEXT_VRS | DATE_VRS, Action.CLEAN),
}
"""Actions for safe private attributes of VRs that may identify."""
