"""Dummy values for action D of DICOM PS3.15 Table E.1-1a: valid for the VR, not empty, and the same for everybody."""

from __future__ import annotations

from typing import Final

TEXT: Final = b"ANONYMIZED"
"""Within the repertoire and length of every text VR (DICOM PS3.5 6.2), and plainly no value that anybody entered."""


def dummy_value(vr: str) -> bytes:
    """Return a value of even length, the same in either byte order.

    Parameters
    ----------
    vr
        A VR of DICOM PS3.5 6.2. UI has a dummy that is valid, but mapping UIDs keeps references; SQ has none but the
        items that a sequence has, hence an empty value.
    """
    return _DUMMIES.get(vr, b"\0\0")


# A date before any acquisition sorts first and can't be taken for a real one; numbers are zero.
_DUMMIES: Final = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), TEXT),
    "UR": b"about:blank ",
    "DA": b"19000101",
    "DT": b"19000101000000",
    "TM": b"000000",
    "AS": b"000Y",
    "DS": b"0 ",
    "IS": b"0 ",
    "UI": b"2.25.0",
    "SQ": b"",
    **dict.fromkeys(("AT", "FL", "OF", "OL", "SL", "UL"), bytes(4)),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), bytes(8)),
}
