"""DICOM PS3.15 Table E.3.10-1, edition 2026d: private attributes that the standard holds safe, by private creator."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

_DATA_FILE: Final = Path(__file__).with_name("safe_private.tsv")


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
    return (creator, group, element_low_byte) in _table()


def safe_private_vr(creator: str, group: int, element_low_byte: int) -> str | None:
    """Return the VR that the table gives a safe private attribute, for encodings that don't say it.

    Returns
    -------
    str or None
        ``OB or OW`` where the table leaves it open; ``None`` for an attribute that isn't listed or has no VR there.
    """
    return _table().get((creator, group, element_low_byte)) or None


@cache
def _table() -> dict[tuple[str, int, int], str]:
    rows = (line.split("\t") for line in _DATA_FILE.read_text(encoding="ascii").splitlines()[1:])
    return {(creator, int(group, 16), int(element, 16)): vr for creator, group, element, vr in rows}
