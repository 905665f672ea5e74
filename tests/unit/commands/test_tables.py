"""Tables fit a terminal of 80 columns, and what people need of them stays whole."""

import pytest

from cli.tables import OneLine, printable, shorten, text_table

OBJECT_ID = "0123456789abcdef" * 2
KEY = f"site/2026/{'study-' * 40}/IM0001.dcm"
SENTENCE = "The object ends inside its pixel data; upload the complete file again. " * 3


def lines(*rows: tuple[object, ...], width: int = 80) -> list[str]:
    return text_table(rows, width=width).splitlines()


def test_should_align_what_fits_as_it_is() -> None:
    assert lines(("A", "B"), ("long", None), ("", 1)) == ["A     B", "long  -", "      1"]


def test_should_wrap_text_between_words() -> None:
    table = lines(("OBJECT", "REASON"), (OBJECT_ID, SENTENCE))
    assert max(map(len, table)) <= 80
    assert [line[:32].strip() for line in table[1:3]] == [OBJECT_ID, ""]
    assert " ".join(line[34:] for line in table[1:]) == SENTENCE.strip()


@pytest.mark.parametrize("key", [KEY, OneLine(KEY.replace("-", " "))])
def test_should_shorten_a_key_in_its_middle_and_keep_the_id_whole(key: str) -> None:
    _, row = lines(("OBJECT", "KEY", "ATTEMPT"), (OBJECT_ID, key, 1))
    assert len(row) <= 80
    assert row.startswith(f"{OBJECT_ID}  site/2026/")
    assert "..." in row
    assert row.split()[-2].endswith("IM0001.dcm")


def test_should_take_from_the_widest_column_first() -> None:
    _, row = lines(("A", "B", "C"), ("a" * 20, "b" * 200, "c" * 20))
    assert "a" * 20 in row
    assert "c" * 20 in row


@pytest.mark.parametrize("width", [20, 40, 60])
def test_should_fit_what_is_narrower_still(width: int) -> None:
    table = lines(("OBJECT", "KEY", "REASON"), (OBJECT_ID, KEY, SENTENCE), width=width)
    assert max(map(len, table)) <= width


def test_should_be_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("KEY",), (KEY,)]
    monkeypatch.setenv("COLUMNS", "400")
    assert KEY in text_table(rows)
    monkeypatch.delenv("COLUMNS")
    assert max(map(len, text_table(rows).splitlines())) == 80  # of no terminal


@pytest.mark.parametrize(("width", "shown"), [(10, "abcdefghij"), (9, "abc...hij"), (4, "a..."), (2, "..")])
def test_should_keep_both_ends(width: int, shown: str) -> None:
    assert shorten("abcdefghij", width) == shown


def test_should_escape_what_would_control_the_terminal() -> None:
    assert printable("a\x1b[2J\udce9\n日本") == r"a\x1b[2J\udce9\n日本"
    assert lines(("K",), ("\x07" * 3,)) == ["K", r"\x07\x07\x07"]
