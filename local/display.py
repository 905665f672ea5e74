"""What the demo shows: steps while they run, then tables that are readable at 80 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from statistics import median

import pydicom
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.style import Style
from rich.table import Table
from rich.text import Text

from cli.operations.links import DownloadLink
from cli.tables import shorten
from local.pipeline import STEPS, Outcome
from runtime.contract.names import State
from runtime.dicom.findings import FINDINGS

VERDICTS = {
    State.SUCCESS: ("delivered", "green"),
    State.DUPLICATE: ("duplicate", "green"),
    State.QUARANTINED: ("quarantined", "yellow"),
    State.FAILURE: ("failed", "red"),
    None: ("ignored", "dim"),
}
NOT_ACCEPTED = "No name of a DICOM file; the stage's option `accepted_suffixes` says which are."

console = Console(highlight=False)


def say(text: str, style: str = "") -> None:
    """Print a paragraph; nothing in it is markup."""
    console.print(Text(text, style=style))


class Steps:
    """The steps of a run, each with its time: a live display on a terminal, a line as each begins elsewhere."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def begin(self, step: str, total: int | None = None) -> None:
        """Tick off the step before, and show the next one.

        Parameters
        ----------
        step
            What is done, in a few words.
        total
            Parts of it, each of which `advance` ticks off.
        """
        if not console.is_terminal:
            say(f"{step} …")
            return
        self.finish()
        columns = [BarColumn(20), MofNCompleteColumn()] if total else []
        self._progress = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            *columns,
            TimeElapsedColumn(),
            console=console,
        )
        self._progress.add_task(step, total=total)
        self._progress.start()

    def advance(self) -> None:
        """Tick off a part of the step."""
        if self._progress is not None:
            self._progress.advance(self._progress.task_ids[0])

    def finish(self) -> None:
        """Tick off the last step."""
        progress, self._progress = self._progress, None
        if progress is not None:
            if progress.tasks[0].total is None:
                progress.update(progress.task_ids[0], total=1, completed=1)
            progress.stop()


@contextmanager
def steps() -> Iterator[Steps]:
    """Show the steps of a run, and leave the terminal as it was."""
    shown = Steps()
    try:
        yield shown
    finally:
        shown.finish()


def verdicts(outcomes: Sequence[Outcome]) -> None:
    """Print what became of each object, and what the steps took."""
    table = _table("What became of each object")
    table.add_column("object", no_wrap=True)
    table.add_column("modality")
    table.add_column("verdict")
    table.add_column("s", justify="right")
    table.add_column("result, or why there is none", overflow="fold")
    name_width = max(24, (console.width - 34) * 2 // 5)
    for outcome in outcomes:
        verdict, style = VERDICTS[outcome.end]
        table.add_row(
            Text(shorten(outcome.key, name_width)),
            outcome.facts.get("modality") or "",
            Text(verdict, style),
            f"{sum(outcome.seconds.values()):.1f}" if outcome.seconds else "",
            _result(outcome, console.width - name_width - 36),
        )
    console.print(table)
    counts = Counter(VERDICTS[outcome.end][0] for outcome in outcomes)
    say(", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + f" of {len(outcomes)}.")
    times = {step: [each.seconds[step] for each in outcomes if step in each.seconds] for step in STEPS}
    medians = [f"{step.removesuffix('Step')} {median(some) * 1000:.0f}" for step, some in times.items() if some]
    if medians:
        say(f"Median milliseconds of the steps: {', '.join(medians)}.\n")


def why(outcome: Outcome) -> str:
    """Return in words why an object has no result of its own."""
    if outcome.end is None:
        return NOT_ACCEPTED
    return " ".join(FINDINGS[code].message if code in FINDINGS else code for code in outcome.reason_codes)


def _result(outcome: Outcome, width: int) -> Text:
    if outcome.output_key is None:
        return Text(why(outcome))
    return Text(shorten(outcome.output_key, max(20, width)), no_wrap=True)


def changes(key: str, source: bytes, result: bytes) -> None:
    """Put the header of one object beside its result's, for the attributes that differ."""
    before, after = (pydicom.dcmread(BytesIO(content), stop_before_pixels=True) for content in (source, result))
    table = _table(f"What changed in the header of {key}")
    for column in ("attribute", "before", "after"):
        table.add_column(column, overflow="fold", ratio=1)
    changed = [tag for tag in sorted({*before.keys(), *after.keys()}) if _value(before, tag) != _value(after, tag)]
    for tag in changed:
        if not tag.is_private:
            name = (before if tag in before else after)[tag].name
            table.add_row(f"{tag} {name}", Text(_value(before, tag)), Text(_value(after, tag)))
    counts = [sum(tag.is_private and tag in dataset for tag in changed) for dataset in (before, after)]
    table.add_row("private attributes that differ", *(str(count) for count in counts))
    console.print(table)


def _value(dataset: Dataset, tag: BaseTag) -> str:
    if tag not in dataset:
        return "—"
    element = dataset[tag]
    if element.VR == "SQ":
        return "; ".join(", ".join(f"{each.name} {each.repval}" for each in item) for item in element.value)[:200]
    return element.repval[:100]


def links(shown: Sequence[DownloadLink]) -> None:
    """Print download links, a line each: names to be clicked on a terminal, addresses elsewhere."""
    say(f"\nDownload links, until {shown[0].expires_at:%H:%M} UTC or the demo's end:")
    for link in shown:
        if console.is_terminal:
            name = shorten(link.key, console.width - 2)
            console.print(Text(f"  {name}", Style(link=link.url)), no_wrap=True)
        else:
            console.print(Text(link.url), soft_wrap=True)
    if console.is_terminal:
        say("Where names can't be clicked, `imaging-pipeline links --for NAME --prefix PATIENT/` prints addresses.")


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
