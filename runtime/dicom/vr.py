"""Value representations of DICOM PS3.5 6.2: which there are, and how their values are written."""

from __future__ import annotations

import re
from typing import Final

from pydicom.valuerep import BYTES_VR, EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

SHORT_VRS: Final = frozenset(map(str, EXPLICIT_VR_LENGTH_16))
LONG_VRS: Final = frozenset(map(str, EXPLICIT_VR_LENGTH_32))
"""VRs with a 32-bit length field in explicit VR (DICOM PS3.5 7.1.2)."""
VRS: Final = SHORT_VRS | LONG_VRS

OPAQUE_VRS: Final = frozenset(map(str, BYTES_VR))
PARAGRAPH_VRS: Final = frozenset(("LT", "ST", "UT"))
"""VRs of text in which a backslash separates nothing."""
PROSE_VRS: Final = PARAGRAPH_VRS | {"UC"}
"""VRs of text that is long enough to say anything."""
TEXT_VRS: Final = PROSE_VRS | {"AE", "CS", "LO", "SH"}
"""VRs of text other than dates, names of persons and URLs."""
DATE_VRS: Final = frozenset(("DA", "DT"))

UNIT_SIZES: Final = {
    **dict.fromkeys(("OB", "UN"), 1),
    **dict.fromkeys(("OW", "SS", "US"), 2),
    **dict.fromkeys(("AT", "FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
"""Bytes of one number or of the unit that is swapped in the other byte order."""

_CLOCK: Final = rb"(?:[01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?"
SYNTAX: Final = {
    "AE": re.compile(rb"[ -\[\]-~]+"),
    "AS": re.compile(rb"\d{3}[DWMY]"),
    "CS": re.compile(rb"[A-Z0-9 _]+"),
    "DA": re.compile(rb"\d{8}"),
    "DS": re.compile(rb" *[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)? *"),
    "DT": re.compile(rb"\d{4}(?:\d\d(?:\d\d(?:" + _CLOCK + rb")?)?)?(?:[+-]\d{4})?"),
    "IS": re.compile(rb" *[+-]?\d{1,12} *"),
    "TM": re.compile(_CLOCK),
    "UI": re.compile(rb"(?=.{1,64}\Z)(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))*"),
    "UR": re.compile(rb"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+"),
}
"""Patterns of one value, not empty and without padding, for VRs in the default repertoire."""
TOLERATED_UID: Final = re.compile(rb"(?=.{3,64}\Z)[0-2](?:\.\d+)+")
"""Pattern of a UID as devices write it: with leading zeros in components, which DICOM PS3.5 9.1 forbids."""
