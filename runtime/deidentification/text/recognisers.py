"""Recognisers of text that identifies a person by its form alone, whoever the header names.

Every pattern is linear in the text's length: what repeats either starts where a run of its own characters starts, or
is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from typing import Final

from runtime.deidentification.text.dates import MONTH_NAMES
from runtime.deidentification.text.edits import Edit

# A date that has been dealt with stands in the text as one of these, see cleaner.py; a label's value may be one.
_DATE: Final = "\U000f0000-\U000ffffd"
_NOT_IN_WORD: Final = r"(?<![^\W_])"
_NUMBER: Final = rf"[A-Z]{{0,5}}[-_]?[\d{_DATE}][\w./{_DATE}-]*"

_CONTACTS: Final = (
    re.compile(r"(?<![\w.%+-])[\w.%+-]+@[\w-]+(?:\.[\w-]+)*"),
    re.compile(r"(?:https?|s?ftp|file|mailto|dicom):/{0,3}[^\s,;]+|(?<![\w.])www\.[^\s,;]+", re.IGNORECASE),
    re.compile(r"(?<![\w.-])[a-z0-9][\w-]*(?:\.[\w-]+)*\.(?:com|org|net|edu|gov|info|local)(?![\w-])", re.IGNORECASE),
    re.compile(r"\\\\[\w.$-]+(?:\\[^\s\\]*)*|(?<!\w)[A-Z]:\\[^\s]*|(?<!\w)/(?:home|Users)/[^\s]*"),
)

_NUMBERS: Final = (
    # UIDs, but not those that the standard registers
    re.compile(r"(?<![\w.])(?!1\.2\.840\.10008\.)[0-2](?:\.\d+){5,}(?!\w)"),
    # IPv4, IPv6 and hardware addresses
    re.compile(
        r"(?<![\w.])(?:10|127|172|192|\d{3})(?:\.\d{1,3}){3}(?![\w.]*\d)|(?<![\w.])\d{2,3}\.\d{2,3}\.\d{2,3}\.\d{1,3}(?![\w.]*\d)"
    ),
    re.compile(
        r"(?<![\w:])[0-9a-f]{1,4}(?:::?[0-9a-f]{1,4}){4,7}(?![\w:])|(?<!\w)[0-9a-f]{2}(?:-[0-9a-f]{2}){5}(?!\w)",
        re.IGNORECASE,
    ),
    # Social security numbers of the USA
    re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"),
    # Telephone numbers: international, North American, with a leading zero
    re.compile(r"(?<![\w+])(?:\+|00)[1-9](?:[ ./()-]{0,2}\d){6,14}(?!\d)"),
    re.compile(r"(?<![\w.-])(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[-.])\d{3}[ .-]\d{4}(?![\w-])"),
    re.compile(r"(?<![\w.,/-])\(?0\d{1,4}\)?[ ]?[-/ ][ ]?\d{2,4}(?:[- ]?\d{2,4}){1,3}(?![\w,.-]*\d)"),
    # A number of eight digits or more counts or measures nothing in a description
    re.compile(r"(?<![\d.])\d{8,}(?!\d)|(?<![\w#])#\s?\d{3,}"),
    # Japanese postal codes
    re.compile(r"〒 ?\d{3}-?\d{4}"),
)

_LABELLED: Final = (
    # Labels that introduce a number and nothing else
    re.compile(
        _NOT_IN_WORD + r"(?:MRN|MRNO|MR ?(?:#|No\.?:|Number)|HRN|UHID|EMPI|SSN|NHS|CHI|NHI|URN|IPP|NIP"
        r"|Med(?:ical|\.)? ?Rec(?:ord|\.)?(?: ?(?:Number|No\.?|Num|#))?"
        r"|Pat(?:ient|ienten|\.)?[ -]?(?:ID|Ident|Number|No\.?|Nr\.?|Nummer|#)|Fall[ -]?(?:Nr\.?|Nummer)"
        r"|Acc(?:ession|\.)? ?(?:Number|No\.?|Num|Nr\.?|#)|Accession|Acct|Account(?: ?(?:Number|No\.?|#))?"
        r"|Hosp(?:ital)? ?(?:ID|Number|No\.?|#)|Encounter|Insurance(?: ?ID)?|Policy|Medicare|Medicaid|Passport"
        r"|(?:Driver'?s? )?Licen[cs]e|患者ID|患者番号|환자번호|등록번호)"
        rf"(?![^\W\d_])[\s:=#.(-]{{0,4}}(?P<value>{_NUMBER}(?: \d{{2,4}}(?![\w.])){{0,3}})",
        re.IGNORECASE,
    ),
    # Words that do so when a colon or # says so
    re.compile(
        _NOT_IN_WORD + r"(?:ID|Acc|Case|Chart|File|Order|Visit|Exam|Study|Req(?:uest|uisition)?|Record|No|Nr|Ref"
        r"|Serial|SN|S/N|Barcode)"
        r"(?:\s?(?:No\.?|Nr\.?|Number|ID))?\s?[:#]\s{0,2}"
        rf"(?P<value>{_NUMBER})",
        re.IGNORECASE,
    ),
    re.compile(
        _NOT_IN_WORD
        + r"(?:Tel(?:ephone|efon)?|Phone|Ph|Fax|Mobile?|Cell|Pager|Beeper|Call|Ext|Durchwahl|T[ée]l(?:[ée]phone)?"
        r"|電話|전화)"
        r"(?![^\W\d_])[\s:.#=]{0,4}(?P<value>[+(]{0,2}\d[\d ()/.+-]{1,24})",
        re.IGNORECASE,
    ),
    re.compile(
        _NOT_IN_WORD
        + r"(?:DOB|D\.O\.B\.?|Date of Birth|Birth ?date|Born(?: on| in)?|Geb(?:oren|urtsdatum)?\.?(?: am)?|N[ée]e? le"
        r"|生年月日|생년월일)(?![^\W\d_])"
        rf"[\s:.=*]{{0,4}}(?P<value>[\d{_DATE}][\d./-]*)",
        re.IGNORECASE,
    ),
)

_HOUSE: Final = r"(?<![^\W_])\d{1,5}[A-Z]?,?\s(?P<words>(?:[NSEW]\.?\s)?(?:[^\W\d_][\w.'-]{0,24}\s){1,4}?)"
_AFTER_STREET: Final = (
    r"(?![^\W_])\.?(?:,?\s(?:Apt|Suite|Ste|Unit|Floor|#)\.?\s?\w{1,6})?"
    r"(?:,\s[^\W\d_][\w.'-]{1,20}(?:\s[\w.'-]{1,20})?,?\s(?-i:[A-Z]{2})(?![^\W_])(?:\s\d{5}(?:-\d{4})?)?)?"
)
_STREET: Final = re.compile(
    rf"{_HOUSE}(?:Street|Avenue|Ave|Road|Boulevard|Blvd|Lane|Highway|Hwy|Parkway|Pkwy){_AFTER_STREET}", re.IGNORECASE
)
# Words and abbreviations that may mean something else in a protocol's name: "2 level st".
_PERHAPS_STREET: Final = re.compile(
    rf"{_HOUSE}(?:St|Rd|Drive|Ln|Court|Place|Terrace|Square|Way){_AFTER_STREET}", re.IGNORECASE
)
_ADDRESSES: Final = (
    _STREET,
    re.compile(_NOT_IN_WORD + r"P\.?\s?O\.?\s?Box\s\d+", re.IGNORECASE),
    re.compile(
        r"(?<![^\W_])[^\W\d_][\w.-]{0,40}?[ -]?(?:stra(?:ß|ss)e|str\.|allee|gasse|platz|weg)"
        r"\s\d{1,4}\s?[a-z]?(?![^\W_])"
        r"(?:,?\s\d{5}\s[^\W\d_][\w.-]+)?",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?<![^\W_])\d{1,4}\s?(?:bis|ter)?,?\s(?:rue|avenue|boulevard|bd|place|chemin|all[ée]e|impasse|quai)\s"
        r"(?:(?:de|du|des|la|le|les)\s|l'|d'){0,3}[^\W\d_][\w'-]+(?:\s(?-i:[A-Z])[\w'-]+){0,2}(?:,?\s\d{5}\s[^\W\d_][\w'-]+)?",
        re.IGNORECASE,
    ),
    re.compile(r"(?<![^\W_])[A-Z][a-z]+(?:\s[A-Z][a-z]+)?,\s?[A-Z]{2}\s\d{5}(?:-\d{4})?(?!\d)"),
    re.compile(r"(?:東京都|北海道|京都府|大阪府|[一-龥]{2,3}県)[一-龥ぁ-んァ-ヶー\d-]{2,40}"),
)

_OLD: Final = r"0?(?:9\d|1[0-4]\d)\+?"
_AGES: Final = (
    re.compile(
        rf"(?<![\w.,/-])(?P<age>{_OLD})"
        r"(?=[ -]?(?:years?|yrs?|yo|y/o|y\.o|yr-old|y-o|jahre|jährig|jaehrig|ans|años|anni|Y)(?![^\W_])"
        r"| ?[歳才세])",
        re.IGNORECASE,
    ),
    re.compile(rf"{_NOT_IN_WORD}(?:age|aged|alter|âge)(?![^\W_])[\s:=]{{0,3}}(?P<age>{_OLD})(?![\d.])", re.IGNORECASE),
    re.compile(r"(?<![\w.,/-])(?P<age>9\d|1[0-4]\d)(?=[MF](?![^\W_]))"),
    re.compile(
        r"(?<![^\W_])(?P<age>ninety(?:[ -](?:one|two|three|four|five|six|seven|eight|nine))?)"
        r"(?=[ -](?:years?|yrs?)(?![^\W_]))",
        re.IGNORECASE,
    ),
)

# Words that a pattern above hangs on where no punctuation does.
_WORDS_BESIDE_NUMBERS: Final = frozenset(
    {
        *(
            "mrn",
            "mrno",
            "mr",
            "hrn",
            "uhid",
            "empi",
            "ssn",
            "nhs",
            "chi",
            "nhi",
            "urn",
            "ipp",
            "nip",
            "med",
            "medical",
        ),
        *("pat", "patient", "patienten", "fall", "fallnr", "fallnummer", "acc", "accession", "acct", "account", "hosp"),
        *("hospital", "encounter", "insurance", "policy", "medicare", "medicaid", "passport", "licence", "license"),
        *("medrec", "patid", "patientid", "patientno", "patientnr", "patientnumber", "patientident", "patno", "patnr"),
        *("patnumber", "patnummer", "patientnummer", "patienten", "patientenid", "patientennr", "patientennummer"),
        *("patident", "patientenident", "patientenno", "patientennumber", "medicalrecord", "medrecord", "medicalrec"),
        *("mrnumber", "accno", "accnum", "accnumber", "accnr", "accessionno", "accessionnum", "accessionnumber"),
        *("accessionnr", "hospitalid", "hospid", "hospno", "hospitalno", "hospnumber", "hospitalnumber", "insuranceid"),
        *("accountno", "accountnumber", "medrecno", "medrecnum", "medrecnumber", "driver", "drivers"),
        *("tel", "telephone", "telefon", "phone", "ph", "fax", "mobil", "mobile", "cell", "pager", "beeper", "call"),
        *(
            "ext",
            "durchwahl",
            "dob",
            "d",
            "date",
            "birthdate",
            "birth",
            "born",
            "geb",
            "geboren",
            "geburtsdatum",
            "nee",
            "ne",
        ),
        *(
            "street",
            "avenue",
            "ave",
            "road",
            "boulevard",
            "blvd",
            "lane",
            "highway",
            "hwy",
            "parkway",
            "pkwy",
            "st",
            "rd",
        ),
        *(
            "drive",
            "ln",
            "court",
            "place",
            "terrace",
            "square",
            "way",
            "box",
            "strasse",
            "str",
            "allee",
            "gasse",
            "platz",
        ),
        *("weg", "rue", "bd", "chemin", "impasse", "quai", "age", "aged", "alter"),
    }
)
_SUSPICIOUS: Final = re.compile(
    r"[@\\#:]|\d{4}|\d{3}[-)]|\d{2,4}[-/ ]\d{2}|0\d|\d[-./() ]{1,2}\d+[-./() ]{1,2}\d"
    r"|(?:9\d|1[0-4]\d)\+?(?:[ -]?[yYjJaA]|[mMfF])"
    r"|[wW]{3}\.|\.[a-zA-Z]{3}|/(?:home|Users)|[nN][iI][nN][eE][tT][yY]|(?:asse|str\.|llee|latz|weg)\s\d"
)


def may_be_recognised(text: str, folded: Set[str]) -> bool:
    """Tell whether an ASCII text of these folded words may hold something that `recognised` or a date would edit."""
    if _SUSPICIOUS.search(text):
        return True
    return _HAS_VALUE.search(text) is not None and not (
        folded.isdisjoint(_WORDS_BESIDE_NUMBERS) and folded.isdisjoint(MONTH_NAMES)
    )


_MAY_BE_CONTACT: Final = re.compile(
    r"[@\\]|://|www\.|\.(?:com|org|net|edu|gov|info|local)|mailto|/home/|/Users/", re.IGNORECASE
)
_MAY_BE_NUMBER: Final = re.compile(
    r"\d[-. ()/]{0,3}\d[-. ()/]{0,3}\d|[0-9a-f]:[0-9a-f]|[0-9a-f]-[0-9a-f]{2}-|#|〒", re.IGNORECASE
)
_HAS_VALUE: Final = re.compile(rf"[\d{_DATE}]")
_MAY_BE_AGE: Final = re.compile(r"9\d|1[0-4]\d|ninety", re.IGNORECASE)


def recognised(text: str, clinical: frozenset[str]) -> Iterator[Edit]:
    """Yield an edit for each contact, number, address and age over 89.

    Parameters
    ----------
    text
        Any text.
    clinical
        Words that make no street's name: "2 views chest court" is no address.
    """
    if _MAY_BE_CONTACT.search(text):
        yield from _cuts(text, _CONTACTS)
    if _HAS_VALUE.search(text) is None:
        if _MAY_BE_AGE.search(text):
            yield from _capped(text)
        return
    if _MAY_BE_NUMBER.search(text):
        yield from _cuts(text, _NUMBERS)
    yield from _labelled(text)
    yield from _cuts(text, _ADDRESSES)
    for match in _PERHAPS_STREET.finditer(text):
        if not clinical.issuperset(match["words"].lower().split()):
            yield Edit(*match.span())
    if _MAY_BE_AGE.search(text):
        yield from _capped(text)


def _cuts(text: str, patterns: tuple[re.Pattern[str], ...]) -> Iterator[Edit]:
    for pattern in patterns:
        for match in pattern.finditer(text):
            yield Edit(*match.span())


def _labelled(text: str) -> Iterator[Edit]:
    for pattern in _LABELLED:
        for match in pattern.finditer(text):
            yield Edit(*match.span("value"))


def _capped(text: str) -> Iterator[Edit]:
    for pattern in _AGES:
        for match in pattern.finditer(text):
            yield Edit(*match.span("age"), "090" if match["age"][0] == "0" else "90+")
