from __future__ import annotations

import struct
import warnings
from io import BytesIO

import pytest
from pydicom import Dataset, config
from pydicom.filereader import read_dataset
from pydicom.valuerep import VR, validate_value

from runtime.deidentification.dummies import dummy_value
from runtime.deidentification.rules.table import rules

LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
NUMERIC_UNITS = {"AT": 2, "SS": 2, "US": 2, "OW": 2, "FL": 4, "SL": 4, "UL": 4, "OF": 4, "OL": 4, "FD": 8, "SV": 8}
STANDARD_VRS = sorted(vr.value for vr in VR if len(vr.value) == 2)


def read_back(vr: str, value: bytes, *, little: bool) -> Dataset:
    order = "<" if little else ">"
    header = struct.pack(order + "HH", 0x0009, 0x1001) + vr.encode()
    header += struct.pack(order + "HL", 0, len(value)) if vr in LONG else struct.pack(order + "H", len(value))
    return read_dataset(BytesIO(header + value), is_implicit_VR=False, is_little_endian=little)


@pytest.mark.parametrize("vr", STANDARD_VRS)
def test_should_be_even_and_not_empty(vr: str) -> None:
    assert len(dummy_value(vr)) % 2 == 0
    assert bool(dummy_value(vr)) == (vr != "SQ")


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("vr", STANDARD_VRS)
def test_should_be_read_as_one_valid_value(vr: str, little: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        element = read_back(vr, dummy_value(vr), little=little)[0x00091001]
    assert (element.VR, element.is_empty) == (vr, vr == "SQ")
    assert element.VM == 1


@pytest.mark.parametrize("vr", sorted(set(STANDARD_VRS) - {"SQ", "AT", *NUMERIC_UNITS, "OB", "OV", "OD", "UN", "UV"}))
def test_should_pass_the_validation_of_its_vr(vr: str) -> None:
    validate_value(vr, dummy_value(vr).decode().rstrip(), config.RAISE)


@pytest.mark.parametrize(("vr", "unit"), NUMERIC_UNITS.items())
def test_should_fill_whole_units(vr: str, unit: int) -> None:
    assert len(dummy_value(vr)) % unit == 0


def test_should_have_a_dummy_for_each_vr_of_the_table() -> None:
    vrs = {vr for rule in rules() for vr in rule.vr.split(" or ")}
    assert {vr for vr in vrs if vr not in STANDARD_VRS} == set()
