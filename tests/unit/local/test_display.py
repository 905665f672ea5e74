"""What the demo shows fits 80 columns, and tells reasons in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from cli.operations.links import DownloadLink
from local import display
from local.pipeline import STEPS, Outcome
from local.samples import samples
from runtime.contract.names import State

LONG = "hospital/radiology/2026-11-28/" + "very-long-folder/" * 5
OUTPUT = "OOVABV4HT3KR55ON/2.25.42199240849727741782964281215503768473/2.25.24406686591704572074/2.25.1417978.dcm"
URL = f"http://127.0.0.1:54543/bucket/{OUTPUT}?X-Amz-Signature={'0' * 64}"


@pytest.fixture(params=[True, False], ids=["terminal", "file"])
def console(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    console = Console(file=StringIO(), width=80, highlight=False, force_terminal=request.param, color_system=None)
    monkeypatch.setattr(display, "console", console)
    yield console
    assert all(len(line) <= 80 for line in shown(console).splitlines() if URL not in line)


def shown(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def outcome(key: str, end: State | None, *codes: str) -> Outcome:
    results: dict[State | None, dict[str, object]] = {
        State.SUCCESS: {"deidentification": {"output_key": OUTPUT}},
        State.DUPLICATE: {"step": {"body": {"output_key": OUTPUT}}},
        State.QUARANTINED: {"reason_codes": " ".join(codes)},
        State.FAILURE: {"error": "StepFailedError"},
        None: {},
    }
    seconds = {} if end is None else dict.fromkeys(STEPS, 123.4)
    return Outcome("arn", key, end, seconds, {"modality": "RTDOSE"}, results[end])


def test_should_show_every_verdict_with_its_reason_in_words(console: Console) -> None:
    display.verdicts(
        [
            outcome(f"{LONG}a.dcm", State.SUCCESS),
            outcome(f"{LONG}b.dcm", State.QUARANTINED, "RISK_ULTRASOUND", "EMPTY_OBJECT"),
            outcome(f"{LONG}c.dcm", State.FAILURE),
            outcome("[red]d.dcm", State.DUPLICATE),
            outcome("thumbs.db", None),
        ]
    )

    words = " ".join(shown(console).split())
    for text in ("delivered", "quarantined", "failed", "duplicate", "ignored", "StepFailedError"):
        assert text in words
    assert "Ultrasound images often" in words
    assert "RISK_" not in words
    assert "[red]d.dcm" in words
    assert "of 5." in words


def test_should_show_what_changed_in_a_header(console: Console) -> None:
    source = samples()["valid/CT_small.dcm"]

    display.changes(f"{LONG}a.dcm", source, source.replace(b"CompressedSamples^CT1", b"PSEUDONYM^^^^^^^^^^^^"))

    assert "PSEUDONYM" in shown(console)


def test_should_show_a_link_on_one_line_each(console: Console) -> None:
    link = DownloadLink(key=OUTPUT, url=URL, expires_at=datetime(2026, 11, 28, 12, 30, tzinfo=UTC))

    display.links([link, link])

    lines = shown(console).splitlines()[2:4]
    assert shown(console).count(OUTPUT[:16]) == 2
    assert all(line.startswith("  OOVABV4") if console.is_terminal else line == URL for line in lines)


def test_should_tell_each_step_as_it_begins(console: Console) -> None:
    with display.steps() as steps:
        steps.begin("Starting the emulator")
        steps.begin("Uploading", 2)
        steps.advance()
        steps.begin("Cleaning up")
        if not console.is_terminal:
            assert shown(console).splitlines() == ["Starting the emulator …", "Uploading …", "Cleaning up …"]

    if console.is_terminal:
        assert "✓ Cleaning up" in shown(console)
        assert "1/2" in shown(console)
