from __future__ import annotations

import datetime
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID

from runtime.deidentification.pseudonyms import DateShift, Domain, Pseudonyms, cap_age

KEY = bytes(range(32))
PSEUDONYMS = Pseudonyms(KEY)
DATES = st.dates(min_value=datetime.date(12, 1, 1))


def test_should_give_the_same_answers_as_ever() -> None:
    # A change of any of these breaks the references between what was delivered before and after it.
    patient = PSEUDONYMS.patient("12345", "HOSPITAL", "1.2.3")
    assert {
        "key id": PSEUDONYMS.key_id,
        "uid": PSEUDONYMS.uid("1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"),
        "accession": PSEUDONYMS.identifier(Domain.ACCESSION_NUMBER, "A-1"),
        "study id": PSEUDONYMS.identifier(Domain.STUDY_ID, "1"),
        "person": PSEUDONYMS.identifier(Domain.PERSON_NAME, "Müller^Jörg"),
        "patient": patient.patient_id,
        "nameless": PSEUDONYMS.patient("", "", "1.2.3").patient_id,
        "days": patient.date_shift(1, 3650).days,
    } == {
        "key id": "fa0cde5e86539aca",
        "uid": "2.25.278880640291260618642994714673537714499",
        "accession": "T2TGRUGF6QKDQQ3S",
        "study id": "F7GXNDG5ERPACNOO",
        "person": "N7TZDY54UFXKRS4S",
        "patient": "6XFJ642QBBUBEQT4",
        "nameless": "OPFVFNAM5PN5RPCI",
        "days": -1712,
    }


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_should_refuse_a_key_of_the_wrong_length(length: int) -> None:
    with pytest.raises(ValueError, match="must be 32 bytes"):
        Pseudonyms(bytes(length))


def test_should_read_the_key_from_hexadecimal_text() -> None:
    assert Pseudonyms.from_hex(f" {KEY.hex().upper()}\n").key_id == PSEUDONYMS.key_id


@pytest.mark.parametrize("text", ["", "00" * 31, "zz" * 32, "00" * 33, "0 " * 32])
def test_should_refuse_a_text_that_is_no_key_without_quoting_it(text: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal characters") as caught:
        Pseudonyms.from_hex(text)
    assert text.strip() == "" or text.strip() not in str(caught.value)


def test_should_not_show_the_key() -> None:
    assert KEY.hex() not in repr(PSEUDONYMS)
    assert repr(KEY) not in repr(PSEUDONYMS)


@given(st.from_regex(r"1\.3(\.(0|[1-9][0-9]{0,8})){1,6}", fullmatch=True))
def test_should_map_a_uid_to_a_valid_uuid_derived_one(original: str) -> None:
    mapped = UID(PSEUDONYMS.uid(original))
    assert mapped.is_valid
    assert len(mapped) <= 44
    root, decimal = mapped[:5], mapped[5:]
    derived = uuid.UUID(int=int(decimal))
    assert (root, derived.variant, derived.version) == ("2.25.", uuid.RFC_4122, 8)
    assert PSEUDONYMS.uid(original + "\0") == mapped
    assert PSEUDONYMS.uid(original + ".1") != mapped


def test_should_leave_every_registered_uid_alone() -> None:
    registered = [uid for uid in UID_dictionary if uid.startswith("1.2.840.10008.")]
    assert len(registered) > 400
    assert [PSEUDONYMS.uid(uid) for uid in registered] == registered


@pytest.mark.parametrize(
    "uid", ["1.2.840.10008.5.1.4.1.1.7.20040119072730.1", "1.2.840.10008", "1.2.840.100081.1", "1.2.840.10008.DOE"]
)
def test_should_map_a_made_up_uid_under_the_root_of_dicom(uid: str) -> None:
    assert PSEUDONYMS.uid(uid).startswith("2.25.")


def test_should_leave_an_empty_uid_empty() -> None:
    assert PSEUDONYMS.uid(" \0") == ""


def test_should_not_relate_equal_values_of_different_kinds() -> None:
    answers = {PSEUDONYMS.identifier(domain, "12345") for domain in Domain}
    answers.add(PSEUDONYMS.patient("12345", "", "").patient_id)
    assert len(answers) == len(Domain) + 1


def test_should_not_relate_pseudonyms_of_different_keys() -> None:
    other = Pseudonyms(bytes(32))
    assert other.key_id != PSEUDONYMS.key_id
    assert other.uid("1.2.3") != PSEUDONYMS.uid("1.2.3")
    assert other.patient("1", "", "") != PSEUDONYMS.patient("1", "", "")


@given(st.text(), st.text())
def test_should_give_identifiers_that_every_vr_holds(value: str, issuer: str) -> None:
    pseudonym = PSEUDONYMS.identifier(Domain.ACCESSION_NUMBER, value, issuer)
    assert len(pseudonym) == 16
    assert set(pseudonym) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")


def test_should_keep_joined_values_apart() -> None:
    assert PSEUDONYMS.identifier(Domain.OTHER, "ab", "c") != PSEUDONYMS.identifier(Domain.OTHER, "a", "bc")
    assert PSEUDONYMS.identifier(Domain.OTHER, "a\x001:b") != PSEUDONYMS.identifier(Domain.OTHER, "a", "b")


@pytest.mark.parametrize("spelling", ["12345", " 12345", "12345 ", "12345\0"])
def test_should_ignore_padding_of_a_patient_id(spelling: str) -> None:
    assert PSEUDONYMS.patient(spelling, "A ", "1") == PSEUDONYMS.patient("12345", "A", "2")


def test_should_keep_equal_patient_ids_of_different_issuers_apart() -> None:
    first, second = PSEUDONYMS.patient("12345", "A", "1"), PSEUDONYMS.patient("12345", "B", "1")
    assert first.patient_id != second.patient_id
    assert first.date_shift(1, 36500) != second.date_shift(1, 36500)


def test_should_tell_upper_from_lower_case_patient_ids() -> None:
    assert PSEUDONYMS.patient("ab1", "", "1") != PSEUDONYMS.patient("AB1", "", "1")


def test_should_treat_each_study_without_a_patient_id_as_a_patient() -> None:
    first, second = PSEUDONYMS.patient("", "A", "1.2.3"), PSEUDONYMS.patient(" ", "A", "1.2.4")
    assert first != second
    assert first == PSEUDONYMS.patient("\0", "", "1.2.3")
    assert first != PSEUDONYMS.patient("1.2.3", "", "1.2.3")


def test_should_refuse_to_name_nobody() -> None:
    with pytest.raises(ValueError, match="neither"):
        PSEUDONYMS.patient("", "A", "")


@given(st.text(min_size=1).filter(lambda text: text.strip(" \0")), st.integers(1, 4000), st.integers(0, 4000))
def test_should_shift_within_the_range_and_never_by_zero(patient_id: str, minimum: int, width: int) -> None:
    days = PSEUDONYMS.patient(patient_id, "", "").date_shift(minimum, minimum + width).days
    assert -(minimum + width) <= days <= -minimum


def test_should_use_the_whole_range() -> None:
    days = {PSEUDONYMS.patient(str(number), "", "").date_shift(1, 30).days for number in range(1000)}
    assert days == set(range(-30, 0))


@pytest.mark.parametrize(("minimum", "maximum"), [(0, 10), (-5, 5), (10, 9)])
def test_should_refuse_a_range_that_is_empty_or_holds_zero(minimum: int, maximum: int) -> None:
    with pytest.raises(ValueError, match="range"):
        PSEUDONYMS.patient("1", "", "").date_shift(minimum, maximum)


@given(DATES, DATES, st.integers(1, 3650))
def test_should_preserve_the_days_between_two_dates(first: datetime.date, second: datetime.date, days: int) -> None:
    shift = DateShift(-days)
    moved = [shift.shift_da(f"{date.year:04}{date:%m%d}") for date in (first, second)]
    parsed = [datetime.date(int(d[:4]), int(d[4:6]), int(d[6:])) for d in moved if d is not None]
    assert parsed[1] - parsed[0] == second - first
    assert parsed[0] == first - datetime.timedelta(days=days)


@pytest.mark.parametrize(
    ("value", "moved"),
    [
        ("20240301", "20240229"),
        ("20240101 ", "20231231"),
        ("2024.03.01", "20240229"),
        ("10000101", "09991231"),
        ("", ""),
        ("  ", ""),
        ("00010101", None),
        ("20230229", None),
        ("20241301", None),
        ("2024-03-01", None),
        ("2024.0301", None),
        ("202403", None),
        ("20240301-20240401", None),
        ("UNKNOWN", None),
        ("\uff12\uff10240301", None),
    ],
)
def test_should_shift_a_da_value(value: str, moved: str | None) -> None:
    assert DateShift(-1).shift_da(value) == moved


@pytest.mark.parametrize(
    ("value", "moved"),
    [
        ("20240301235960.123456+0100", "20240229235960.123456+0100"),
        ("20240301-1200", "20240229-1200"),
        ("2024030112", "2024022912"),
        ("202403011230", "202402291230"),
        ("20240301123015.5 ", "20240229123015.5"),
        ("202403", "202403"),
        ("2024", "2024"),
        ("2024+0100", "2024+0100"),
        ("", ""),
        ("00010101", None),
        ("20240230", None),
        ("20240301250000", None),
        ("20240301126100", None),
        ("20240301120000.", None),
        ("20240301120000.1234567", None),
        ("20240301+1500", None),
        ("2024.03.01", None),
        ("today", None),
    ],
)
def test_should_shift_a_dt_value(value: str, moved: str | None) -> None:
    assert DateShift(-1).shift_dt(value) == moved


def test_should_shift_a_dt_of_partial_precision_by_about_as_much() -> None:
    assert DateShift(-31).shift_dt("202403") == "202402"
    assert DateShift(-365).shift_dt("2024") == "2023"


@pytest.mark.parametrize(("ordinal", "days"), [(datetime.date.min, -1), (datetime.date.max, 1)])
def test_should_not_leave_the_calendar(ordinal: datetime.date, days: int) -> None:
    assert DateShift(days).shift_date(ordinal) is None


@pytest.mark.parametrize(
    ("age", "capped"),
    [
        ("045Y", "045Y"),
        ("089Y", "089Y"),
        ("090Y", "090Y"),
        ("091Y", "090Y"),
        ("999Y", "090Y"),
        ("95Y ", "090Y"),
        ("999M", "999M"),
        ("1080M", "090Y"),
        ("003D", "003D"),
        ("", ""),
        ("ninety", None),
        ("045", None),
        ("045y", None),
    ],
)
def test_should_cap_ages_over_89(age: str, capped: str | None) -> None:
    assert cap_age(age) == capped
