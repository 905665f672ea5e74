from __future__ import annotations

import pytest
from pydicom._private_dict import private_dictionaries

from runtime.deidentification.rules.decision import PRIVATE_NOT_LISTED
from runtime.deidentification.rules.private import decide_private, safe_private_table


@pytest.mark.parametrize(
    ("creator", "group", "element", "vr"),
    [
        ("SIEMENS MR HEADER", 0x0019, 0x0C, "IS"),
        ("GEMS_PARM_01", 0x0043, 0x39, "IS"),
        ("Philips PET Private Group", 0x7053, 0x00, "DS"),
        ("Philips Imaging DD 001", 0x2001, 0x03, "FL"),
        ("NQHeader", 0x0099, 0x02, "UI"),
        ("HOLOGIC, Inc.", 0x7E01, 0x10, "SQ"),
    ],
)
def test_should_know_safe_private_attributes(creator: str, group: int, element: int, vr: str) -> None:
    assert decide_private(group << 16 | 0x1000 | element, creator) is not PRIVATE_NOT_LISTED
    assert (safe_private_table()[creator, group, element] or None) == vr


@pytest.mark.parametrize(
    ("creator", "group", "element"),
    [
        ("SIEMENS MR HEADER", 0x0019, 0x0F),
        ("SIEMENS CSA HEADER", 0x0029, 0x10),
        ("GEMS_PARM_01", 0x0019, 0x39),
        ("siemens mr header", 0x0019, 0x0C),
        ("", 0x0019, 0x0C),
    ],
)
def test_should_hold_nothing_else_safe(creator: str, group: int, element: int) -> None:
    assert decide_private(group << 16 | 0x1000 | element, creator) is PRIVATE_NOT_LISTED


def test_should_hold_every_row_of_the_edition() -> None:
    assert len(safe_private_table()) == 479
    assert len({creator for creator, _, _ in safe_private_table()}) == 20
    assert all(group % 2 and 0 <= element <= 0xFF for _, group, element in safe_private_table())


def test_should_hold_no_attribute_for_persons_dates_or_addresses_safe() -> None:
    assert {"PN", "DA", "DT", "AE"}.isdisjoint(safe_private_table().values())


def test_should_agree_with_what_the_manufacturers_say() -> None:
    dictionaries = {
        creator: {entry.lower(): row[0] for entry, row in private_dictionaries[creator].items()}
        for creator in {creator for creator, _, _ in safe_private_table()} & private_dictionaries.keys()
    }
    known = {
        key: vr
        for key in safe_private_table()
        if (vr := dictionaries.get(key[0], {}).get(f"{key[1]:04x}xx{key[2]:02x}")) is not None
    }
    assert len(known) == 205
    assert {key for key, vr in known.items() if vr != safe_private_table()[key]} == {
        ("HOLOGIC, Inc.", 0x7E01, 0x02),
        ("Philips Imaging DD 001", 0x2001, 0x55),
    }
