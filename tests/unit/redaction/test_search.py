"""The search finds what was planted: only then does it mean something that it finds nothing."""

import base64
import gzip
import html
import json
import quopri
import unicodedata
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from tests.marker_file import marker_file
from tests.markers import Script, Search

LINE = '{"level": "ERROR", "message": "step failed", "failure": "ClientError s3.py:12 %s", "at": "2026-11-27T01:00:00"}'

ENCODERS: dict[str, Callable[[str], str | bytes]] = {
    "plain": str,
    "lower case": str.lower,
    "upper case": str.upper,
    "swapped case": str.swapcase,
    "reversed": lambda text: text[::-1],
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "compatible": lambda text: unicodedata.normalize("NFKC", text),
    "JSON": lambda text: json.dumps({"key": f"/{text}/"}),
    "JSON in JSON": lambda text: json.dumps(json.dumps({"key": text})),
    "JSON of bytes": lambda text: json.dumps(str(text.encode())),
    "repr": lambda text: repr([text]),
    "repr of bytes": lambda text: repr(text.encode()),
    "ASCII": ascii,
    "URL": lambda text: f"https://bucket/{quote(text)}?versionId=1",
    "URL query": lambda text: f"?key={quote_plus(text)}&x=y",
    "URL encoded twice": lambda text: quote(quote(text)),
    "every byte percent-encoded": lambda text: "".join(f"%{octet:02X}" for octet in text.encode()),
    "every byte percent-encoded, lower": lambda text: "".join(f"%{octet:02x}" for octet in text.encode()),
    "HTML": lambda text: "".join(f"&#{ord(character)};" for character in text),
    "HTML, named": lambda text: html.escape(text).encode("ascii", "xmlcharrefreplace"),
    "quoted-printable": lambda text: quopri.encodestring(text.encode()),
    "Base64": lambda text: base64.b64encode(text.encode()),
    "Base64 behind others": lambda text: "x" + base64.b64encode(f"ab{text}".encode()).decode(),
    "Base64 of URLs": lambda text: base64.urlsafe_b64encode(f"~~?{text}".encode()).decode().rstrip("="),
    "Base64 of JSON": lambda text: base64.b64encode(json.dumps({"key": text}).encode()),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal, capitals": lambda text: text.encode().hex().upper(),
    "hexadecimal with spaces": lambda text: text.encode().hex(" "),
    "hexadecimal of UTF-16": lambda text: text.encode("utf-16-le").hex(),
    "numbers of bytes": lambda text: str(list(text.encode())),
    "UTF-8": str.encode,
    "UTF-8 taken for Latin-1": lambda text: text.encode().decode("latin-1"),
    "UTF-8 taken for Latin-1, as JSON": lambda text: json.dumps(text.encode().decode("latin-1")),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 big endian": lambda text: b"odd" + text.encode("utf-16-be"),
}
OWN_CHARACTER_SETS = {
    Script.ASCII: ("ascii",),
    Script.LATIN: ("latin-1", "utf-8"),
    Script.GREEK: ("utf-8", "gb18030"),
    Script.KATAKANA: ("shift_jis", "utf-8"),
    Script.JAPANESE: ("shift_jis", "iso2022_jp", "gb18030"),
    Script.CHINESE: ("gb18030",),
}
MARKERS = [script.marker(number) for script in Script for number in (0x0000, 0x1234, 0xFEDC)]


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_should_find_a_marker_in_every_encoding_amid_other_text(encoder: Callable[[str], str | bytes]) -> None:
    search = Search(MARKERS)
    for marker in MARKERS:
        encoded = encoder(marker)
        if isinstance(encoded, bytes):
            assert search.find(b"before " + encoded + b" after") == {marker}
        else:
            assert search.find(LINE.replace("%s", encoded)) == {marker}


@pytest.mark.parametrize("script", Script, ids=lambda script: script.name)
def test_should_find_a_marker_in_the_character_set_of_its_file(script: Script) -> None:
    marker = script.marker(0x1234)
    search = Search([marker])
    for character_set in OWN_CHARACTER_SETS[script]:
        encoded = marker.encode(character_set)
        taken_for_latin = encoded.decode("latin-1")
        for content in (
            encoded,
            taken_for_latin,
            json.dumps(taken_for_latin),
            repr(encoded),
            "".join(f"%{octet:02X}" for octet in encoded),
            base64.b64encode(b"key: " + encoded),
            encoded.hex(),
        ):
            assert search.find(content) == {marker}, (character_set, content)


def test_should_find_every_marker_of_the_file_that_has_one_in_each_attribute() -> None:
    file = marker_file()
    # A value of four characters can't be told from chance: ages are looked for in files alone.
    texts = {marker.content.decode() for marker in file.markers if marker.vr != "AS"}
    assert Search(texts).find("\n".join(texts)) == texts
    words = {marker.content.decode() for marker in file.markers if marker.content.startswith(b"QZ")}
    assert len(words) > 500
    assert Search(words).find(file.content) == words


@pytest.mark.parametrize(
    ("marker", "spelled"),
    [("19310105", "born 1931-01-05."), ("7310.00050", "[7310.0005]"), ("73100050", "n=73100050,")],
)
def test_should_find_dates_and_numbers_however_they_are_printed(marker: str, spelled: str) -> None:
    assert Search([marker]).find(spelled) == {marker}


def test_should_refuse_a_marker_that_it_could_not_find() -> None:
    with pytest.raises(AssertionError, match="could not find"):
        Search(["DOE^JANE"])


def test_should_find_nothing_where_nothing_is() -> None:
    search = Search([script.marker(number) for script in Script for number in range(0x10000)])
    noise = base64.b64encode(gzip.compress(bytes(range(256)) * 100)).decode()
    assert search.find(LINE.replace("%s", noise) * 100) == set()
