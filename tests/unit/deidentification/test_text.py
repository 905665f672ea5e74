from __future__ import annotations

import datetime
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.deidentification.text import Identifiers, Kind, TextCleaner, kind_of
from runtime.deidentification.text.words import clinical_words, fold

HEADER = Identifiers(
    people=(
        "Doe^Jane^Mary^^PhD=",
        "Müller-Lüdenscheidt^Jörg^^Dr. med.",
        "O'Connor^Siobhán",
        "van der Berg^Pieter",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "Gim^Huijung=김^희중",
        "Brown^Robert",
        "Long^May",
        "Wu^Li",
        "Dupré^Hélène",
    ),
    codes=("4711-0815", "PAT-0012345", "98765432", "1CT1", "(617) 555-0199"),
    dates=("20240131", "20240301101500.5", "2023.11.05"),
    birth_dates=("19500607",),
    places=(
        "Massachusetts General Hospital",
        "Universitätsklinikum Tübingen",
        "12 Elm Street, Springfield",
        "Radiology",
    ),
)
LEAKS = (
    *("doe", "jane", "muller", "mueller", "ludenscheidt", "luedenscheidt", "jorg", "joerg", "connor", "siobhan"),
    *("berg", "pieter", "yamada", "tarou", "山田", "太郎", "やまた", "희중", "robert", "dupre", "helene"),
    *("massachusetts", "tubingen", "springfield", "47110815", "0012345", "98765432", "6175550199"),
)


def ten_days_earlier(date: datetime.date) -> datetime.date:
    return date - datetime.timedelta(days=10)


CUTTING = TextCleaner(HEADER, None)
MOVING = TextCleaner(HEADER, ten_days_earlier)
KEEPING = TextCleaner(HEADER, lambda date: date)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("CT Chest for Jane Doe MRN 12345", "CT Chest for MRN"),
        ("DOE^JANE CT HEAD", "CT HEAD"),
        ("Doe, Jane; CT head", "CT head"),
        ("jane_doe_ct_head", "ct_head"),
        ("JaneDoe CT", "CT"),
        ("DoeChest 2mm", "Chest 2mm"),
        ("MÜLLERJörg Knie", "Knie"),
        ("J. Doe knee", "knee"),
        ("jdoe LIVER", "LIVER"),
        ("Jane M. Doe's brain", "'s brain"),
        ("Thorax Herr Jörg Müller-Lüdenscheidt pa", "Thorax pa"),
        ("Thorax Mueller Luedenscheidt", "Thorax"),
        ("MÜLLERs Knie links", "Knie links"),
        ("Mu\u0308ller Becken", "Becken"),
        ("Siobhan OConnor abdomen", "abdomen"),
        ("O\u2019CONNOR Abdomen", "Abdomen"),
        ("van der Berg pelvis", "pelvis"),
        ("Radiographie du thorax de DUPRE Helene", "Radiographie du thorax de"),
        ("胸部CT 山田太郎", "胸部CT"),
        ("山田 太郎 頭部MRI", "頭部MRI"),
        ("ﾔﾏﾀﾞ ﾀﾛｳ 腹部", "腹部"),
        ("ヤマダタロウ 腹部", "腹部"),
        ("김희중 흉부 CT", "흉부 CT"),
        ("희중 김 흉부", "흉부"),
        ("May Long, knee", "knee"),
        ("LONG MAY KNEE", "KNEE"),
        ("Seen by Brown at noon", "Seen by at noon"),
        ("Dr. Brown requested", "requested"),
        ("Wu chest", "chest"),
        ("WU LI CHEST", "CHEST"),
        ("id 47110815 head", "id head"),
        ("4711 0815 head", "head"),
        ("head 4711.0815", "head"),
        ("scan 0012345b", "scan b"),
        ("scan 12345", "scan"),
        ("knee47110815head", "knee head"),
        ("1CT1 chest", "chest"),
        ("Massachusetts General Hospital, chest", "chest"),
        ("TÜBINGEN Herz", "Herz"),
        ("12 Elm Street knee", "knee"),
        ("call 617-555-0199", "call"),
    ],
)
def test_should_cut_what_the_header_identifies(text: str, cleaned: str) -> None:
    assert CUTTING.reveals(text) or any(word in text for word in ("Brown", "Massachusetts", "TÜBINGEN", "Elm Street"))
    assert CUTTING.clean(text).replace(" ,", "").strip(" ,;") == cleaned
    assert not CUTTING.reveals(CUTTING.clean(text))


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Dr. Smith recommends MRI", "recommends MRI"),
        ("Prof. Dr. med. Hans Huber: Thorax", ": Thorax"),
        ("Mrs Jones, chest", "chest"),
        ("Frau Schmidt Knie", "Knie"),
        ("Mme Durand genou", "genou"),
        ("Operator: Meier", "Operator:"),
        ("Read by John Smith", "Read by"),
        ("Patient: Karl Schmidt supine", "Patient: supine"),
        ("tel 555-1234 head", "tel head"),
        ("head (212) 555-0100", "head"),
        ("head 212-555-0100", "head"),
        ("head +49 89 1234567", "head"),
        ("Fax: 089/123456-7", "Fax:"),
        ("mail x.y@hospital.org now", "mail now"),
        ("see https://pacs.hospital.org/study?id=5 now", "see now"),
        ("pacs.hospital.org chest", "chest"),
        ("\\\\server\\share\\x chest", "chest"),
        ("from 192.168.10.20 chest", "from chest"),
        ("00:1b:63:84:45:e6 chest", "chest"),
        ("SSN 123-45-6789 chest", "SSN chest"),
        ("MRN: A-123 chest", "MRN: chest"),
        ("Acc# 77-12 chest", "Acc# chest"),
        ("Pat.-Nr. 55123 Knie", "Pat.-Nr. Knie"),
        ("ID: 4412 chest", "ID: chest"),
        ("chest #4412", "chest"),
        ("chest 123456789", "chest"),
        ("1.2.826.0.1.3680043.8.498.1 chest", "chest"),
        ("742 Evergreen Road, Boston, MA 02114", ""),
        ("Hauptstraße 5, 80331 München Knie", "Knie"),
        ("12 rue de la Paix genou", "genou"),
        ("P.O. Box 123 chest", "chest"),
        ("92 year old man", "90+ year old man"),
        ("91-year-old, 089Y", "90+-year-old, 089Y"),
        ("093Y", "090Y"),
        ("aged 101", "aged 90+"),
        ("95-jährig", "90+-jährig"),
        ("ninety-two years", "90+ years"),
        ("DOB 1950 chest", "DOB chest"),
    ],
)
def test_should_cut_what_identifies_by_its_form(text: str, cleaned: str) -> None:
    assert MOVING.clean(text) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        *("PA AND LATERAL", "CT CHEST W/O CONTRAST", "T2 TSE AX 5mm e+1", "Thorax 5.0 B31f", "Topogram 0.6 T20s"),
        *("MR BRAIN", "MR PROSTATE W WO", "DR CHEST PA", "DR HAND 2 VIEWS", "MS PROTOCOL HEAD", "MR Head"),
        *("b1000 ADC", "TR/TE 2000/30", "FOV 512 x 512", "256 256 1024", "120kV 80-120 mAs", "3.5mm", "1.25 x 1.25"),
        *("v5.10.15", "VB20.1.15", "syngo 4.0.1", "Acc 2", "SENSE 2", "MAR 3", "Sep 2", "5 mar"),
        *("45 y/o female", "89 years", "089Y", "1/2", "L4/5", "C3-4", "2:1", "12:30:15", "HU 200-1000"),
        *("brown fat; White matter; long axis; may represent", "Head first supine", "LONG LEG", "May be normal"),
        *("Schädel nativ", "Kopf mit KM", "Röntgen Thorax in zwei Ebenen", "Thorax de face et profil", "genou gauche"),
        *("胸部 造影", "흉부 조영", "頭部単純", "Baker cyst", "Chiari I", "W/O and with", "ABDOMEN^HCC_protocol"),
        *("2 views chest court", "12 CHEST DR", "General Radiology", "Hospital bed", "1.2.840.10008.5.1.4.1.1.2"),
        *("scan 912345", "scan 123456", "b1CT12 chest"),
        *("2024", "in 1999", "T1 SE 15", "Patient: supine", "Operator:", "performed by hand", "mr", "dr", "90 degree"),
    ],
)
def test_should_keep_what_identifies_nobody(text: str) -> None:
    for cleaner in (CUTTING, MOVING, KEEPING):
        assert cleaner.clean(text) == text
        assert not cleaner.reveals(text)


@pytest.mark.parametrize(
    ("date", "moved"),
    [
        ("2024-01-31", "2024-01-21"),
        ("2024/01/31", "2024/01/21"),
        ("31.01.2024", "21.01.2024"),
        ("31. 01. 2024", "21. 01. 2024"),
        ("1/31/2024", "1/21/2024"),
        ("01/31/2024", "01/21/2024"),
        ("1/31/24", "1/21/24"),
        ("31-Jan-2024", "21-Jan-2024"),
        ("31JAN2024", "21JAN2024"),
        ("31st of January 2024", "21 of January 2024"),
        ("Wednesday, January 31, 2024", "January 21, 2024"),
        ("Jan 31 2024", "Jan 21 2024"),
        ("5 march 2024", "24 february 2024"),
        ("2024-Jan-31", "2024-Jan-21"),
        ("31. Januar 2024", "2024-01-21"),
        ("31 janvier 2024", "2024-01-21"),
        ("5. März 2024", "2024-02-24"),
        ("20240131", "20240121"),
        ("20240131123000.5", "20240121123000.5"),
        ("2024-01-31T10:20:30", "2024-01-21T10:20:30"),
        ("2024年1月31日", "2024年1月21日"),
        ("2024년 1월 31일", "2024년 1월 21일"),
        ("01/03/2024", "20/02/2024"),
        ("April 2024", "April 2024"),
        ("02/03/2024", ""),
        ("240131", ""),
        ("31012024", ""),
        ("07.06.1950", ""),
        ("1950-06-07", ""),
        ("January 31st", ""),
        ("令和6年1月31日", ""),
    ],
)
def test_should_move_a_date_in_the_form_it_is_written(date: str, moved: str) -> None:
    assert MOVING.clean(f"chest {date} knee").split() == f"chest {moved} knee".split()
    kept = KEEPING.clean(f"chest {date} knee")
    assert kept == f"chest {date} knee" or not moved
    cut = CUTTING.clean(f"chest {date} knee")
    assert cut == "chest knee"


def test_should_not_move_dates_out_of_the_calendar() -> None:
    cleaner = TextCleaner(HEADER, lambda date: None)
    assert cleaner.clean("chest 2024-01-31") == "chest"


def test_should_cut_a_short_identifier_only_where_it_is_labelled() -> None:
    cleaner = TextCleaner(Identifiers(codes=("12",)), None)
    assert cleaner.clean("12 slices MRN 12") == "12 slices MRN"


def test_should_add_nothing_but_ascii() -> None:
    text = "Müller 31. März 2024, 92 Jahre, Herz"
    assert set(MOVING.clean(text)) <= set(text) | {chr(code) for code in range(128)}


FRAGMENTS = [
    *(
        "Jane",
        "Doe",
        "DOE",
        "J.",
        "Müller",
        "Jörg",
        "MÜLLER",
        "Mueller",
        "山田",
        "太郎",
        "희중",
        "O'Connor",
        "Brown",
        "Long",
    ),
    *("May", "Li", "Wu", "Dr.", "Mr", "Prof.", "by", "Patient:", "MRN", "ID:", "#", "4711-0815", "0012345", "98765432"),
    *(
        "2024-01-31",
        "31.01.2024",
        "20240131",
        "1950",
        "92",
        "year old",
        "(",
        ")",
        ",",
        "^",
        "_",
        "-",
        "/",
        " ",
        "  ",
        "\n",
    ),
    *(
        "CT",
        "Chest",
        "head",
        "T2",
        "b1000",
        "5mm",
        "white",
        "matter",
        "Massachusetts",
        "General",
        "Hospital",
        "x@y.org",
    ),
    *("617-555-0199", "12 Elm Street", "1.2.3.4.5.6.7", "3", "7", ".", "\\", "é", "ß", "\u0308", "\U000f0001", "年"),
]
TEXTS = st.one_of(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join), st.text(max_size=40))


@settings(max_examples=300, deadline=None)
@given(TEXTS)
@example("Jane 2024-01-31Doe5")
def test_should_leave_no_identifier_and_change_a_cleaned_text_no_more(text: str) -> None:
    for cleaner in (CUTTING, KEEPING):
        cleaned = cleaner.clean(text)
        assert cleaner.clean(cleaned) == cleaned
    cleaned = CUTTING.clean(text)
    assert not CUTTING.reveals(cleaned)
    assert len(cleaned) <= len(text) + 2 * text.count("9")


@settings(max_examples=300, deadline=None)
@given(TEXTS.filter(str.isascii))
def test_should_skip_only_texts_that_need_no_cleaning(text: str) -> None:
    unhurried = TextCleaner(HEADER, None)
    unhurried._is_harmless = lambda text: False  # type: ignore[method-assign]
    assert CUTTING.clean(text) == unhurried.clean(text)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["CT", "of", "chest", "with", "contrast", "seen", ",", "5mm"]), max_size=6), st.data())
def test_should_find_a_name_wherever_it_stands(others: list[str], data: st.DataObject) -> None:
    name = data.draw(
        st.sampled_from(
            ["Jane Doe", "doe jane", "DOE^JANE", "Jörg Müller", "MUELLER", "Siobhan O'CONNOR", "Hélène", "dupre"]
        )
    )
    at = data.draw(st.integers(0, len(others)))
    cleaned = MOVING.clean(" ".join([*others[:at], name, *others[at:]]))
    assert not any(leak in fold(cleaned) for leak in LEAKS)
    assert set(others) - {","} <= set(cleaned.split())


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "a",
            "1",
            "1-",
            "1 ",
            "1.",
            "a@",
            " ",
            "Mr. ",
            "J.D.",
            "(",
            "a:",
            "\\a",
            "Abc ",
            "tel 1 ",
            "name: A ",
            "12 a ",
        ),
        *(
            "Jane Doe ",
            "2024-01-31 ",
            "MRN 123 ",
            "山田",
            "+1 ",
            "a.",
            "0-",
            "9 ",
            "Dr ",
            "1 jan ",
            "12 a a a ",
            "\u0308",
        ),
    ],
)
def test_should_take_time_in_proportion_to_the_text(unit: str) -> None:
    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        start = time.process_time()
        MOVING.clean(text)
        return time.process_time() - start

    # Four times the text may take ten times as long: quadratic time would take sixteen.
    short = max(min(seconds(10_000) for _ in range(3)), 0.005)
    assert any(seconds(40_000) < 10 * short for _ in range(3))


def test_should_tell_how_an_attribute_identifies() -> None:
    assert kind_of(0x00100010, "PN") is Kind.PERSON
    assert kind_of(0x00100020, "LO") is Kind.CODE
    assert kind_of(0x00100030, "DA") is Kind.BIRTH_DATE
    assert kind_of(0x00080020, "DA") is Kind.DATE
    assert kind_of(0x00080080, "LO") is Kind.PLACE
    assert kind_of(0x0008103E, "LO") is None


def test_should_collect_each_value_once() -> None:
    collected = Identifiers.of(
        [(Kind.PERSON, "Doe^Jane\\Roe^Jane "), (Kind.PERSON, "Doe^Jane"), (Kind.CODE, " "), (Kind.DATE, "20240131")]
    )
    assert collected == Identifiers(people=("Doe^Jane", "Roe^Jane"), dates=("20240131",))


def test_should_clean_for_a_header_that_reveals_nothing() -> None:
    cleaner = TextCleaner(Identifiers(), None)
    assert cleaner.clean("") == ""
    assert cleaner.clean("CT Chest for Jane Doe") == "CT Chest for Jane Doe"


def test_should_hold_folded_clinical_words() -> None:
    assert all(fold(word) == word and word.isalpha() for word in clinical_words())
