"""Tags have the names that DICOM PS3.6 gives them, and are written nowhere else."""

import re
from pathlib import Path

import pytest
from pydicom.datadict import keyword_for_tag

from runtime.dicom import tags

ROOT = Path(__file__).parents[3]
NAMED = {name: tag for name, tag in vars(tags).items() if name.isupper()}


@pytest.mark.parametrize("name", NAMED)
def test_should_be_named_by_the_keyword(name: str) -> None:
    assert name.replace("_", "") == keyword_for_tag(NAMED[name]).upper()


def test_should_be_written_once() -> None:
    assert len(set(NAMED.values())) == len(NAMED)
    number = re.compile("|".join(f"0x{tag:08X}" for tag in NAMED.values()), re.IGNORECASE)
    sources = [path for folder in ("runtime", "cli") for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 60
    in_code = {
        path.name
        for path in sources
        for line in path.read_text("utf-8").splitlines()
        if number.search(line) and "``0x" not in line
    }
    assert in_code == {"tags.py"}


@pytest.mark.parametrize(
    ("tag", "private", "creator", "reserved_by"),
    [
        (0x00100010, False, False, None),
        (0x00190010, True, True, None),
        (0x001900FF, True, True, None),
        (0x00190100, True, False, 0x00190001),
        (0x00191001, True, False, 0x00190010),
    ],
)
def test_should_tell_private_elements_and_their_creators(
    tag: int, reserved_by: int | None, *, private: bool, creator: bool
) -> None:
    assert (tags.is_private(tag), tags.is_private_creator(tag)) == (private, creator)
    assert reserved_by in (None, tags.private_creator_of(tag))
