"""`make demo`: the whole pipeline on this machine, with real DICOM files, in a minute."""

from __future__ import annotations

import argparse
import logging
import sys
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cli.operations.links import DownloadLink, PresignedUrlHandler
from local.deployment import deploy
from local.emulator import Emulator, prepare
from local.environment import REGION, isolation
from local.errors import LocalRunError
from local.pipeline import STEPS, Outcome, Pipeline
from local.samples import samples, users_own
from runtime.aws.audit import AuditLog
from runtime.aws.clients import client
from runtime.contract.names import Output, State

LINKS_SHOWN = 3
VERDICTS = {
    State.SUCCESS: "[green]delivered",
    State.DUPLICATE: "[green]duplicate",
    State.QUARANTINED: "[yellow]quarantined",
    State.FAILURE: "[red]failed",
}

# Wide enough for output keys where nobody looks through a terminal of their own.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 tells that every object got a verdict and the download was what it should be."""
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--dicom", type=Path, help="a DICOM file of yours, or a folder of them")
    parser.add_argument("--keep", action="store_true", help="leave the emulator running")
    options = parser.parse_args(arguments)
    logging.disable(logging.INFO)  # the delivery module's log lines are for CloudWatch, not for this table
    try:
        objects = users_own(options.dicom) if options.dicom else samples()
        return _run(objects, keep=options.keep)
    except LocalRunError as error:
        console.print(Text(str(error), style="red"))
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
        return 130


def _run(objects: Mapping[str, bytes | Path], *, keep: bool) -> int:
    with _progress() as progress:
        task = progress.add_task("Preparing the emulator's environment", total=None)

        def tell(step: str) -> None:
            progress.update(task, description=step)

        prepare()
        tell("Starting the emulator")
        with Emulator() as emulator:
            environment, outputs = deploy(emulator, tell)
            progress.update(task, description="Deployed stage local", total=1, completed=1)
            with isolation(environment):
                pipeline = Pipeline(outputs)
                outcomes = _process(pipeline, objects, progress)
                progress.stop()
                problems = _show(pipeline, objects, outcomes, keep=keep)
            if keep:
                emulator.keep()
                _explain(environment, outputs)
    for problem in problems:
        console.print(Text(problem, style="red"))
    return 1 if problems else 0


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def _process(pipeline: Pipeline, objects: Mapping[str, bytes | Path], progress: Progress) -> list[Outcome]:
    """Upload the objects, and follow their executions to the end."""
    task = progress.add_task("Uploading and processing", total=len(objects))
    outcomes = []
    for outcome in pipeline.process_all(objects):
        outcomes.append(outcome)
        progress.advance(task)
    order = {key: position for position, key in enumerate(objects)}
    return sorted(outcomes, key=lambda outcome: order[outcome.key])


def _show(
    pipeline: Pipeline, objects: Mapping[str, bytes | Path], outcomes: Sequence[Outcome], *, keep: bool
) -> list[str]:
    """Print what became of the objects, and return what is not as it should be."""
    console.print(_verdict_table(outcomes))
    counts = Counter(outcome.end for outcome in outcomes)
    console.print(", ".join(f"{count} {VERDICTS[end]}[/]" for end, count in counts.items()), "\n")
    problems = [
        f"{outcome.key} failed: {outcome.reason_codes[0]}" for outcome in outcomes if outcome.end is State.FAILURE
    ]
    leaks = [outcome.key for outcome in outcomes if outcome.released and outcome.key.startswith("broken/")]
    problems += [f"{key} must not be delivered, and was." for key in leaks]
    released = [outcome for outcome in outcomes if outcome.released]
    if released:
        first = released[0]
        source, result = _source(objects[first.key]), pipeline.processed(_output_key(first))
        console.print(_changes(first, source, result))
        links = _links(pipeline, released, keep=keep)
        problems += _check_download(links[0], result)
    elif any(outcome.key.startswith("valid/") for outcome in outcomes):
        problems.append("No object was delivered.")
    return problems


def _verdict_table(outcomes: Sequence[Outcome]) -> Table:
    table = Table(title="What became of each object", title_justify="left")
    table.add_column("object", overflow="fold")
    table.add_column("modality")
    table.add_column("verdict")
    for step in STEPS:
        table.add_column(f"{step.value.removesuffix('Step')}\nms", justify="right")
    table.add_column("output key, or reasons", overflow="fold")
    for outcome in outcomes:
        times = [f"{outcome.seconds[step] * 1000:.0f}" if step in outcome.seconds else "" for step in STEPS]
        last = outcome.output_key or " ".join(outcome.reason_codes)
        table.add_row(Text(outcome.key), outcome.facts.get("modality") or "", VERDICTS[outcome.end], *times, Text(last))
    return table


def _changes(outcome: Outcome, source: bytes, result: bytes) -> Table:
    """Put the header of one object beside its result's, for the attributes that differ."""
    before, after = (pydicom.dcmread(BytesIO(content), stop_before_pixels=True) for content in (source, result))
    table = Table(title=f"What changed in the header of {outcome.key}", title_justify="left")
    for column in ("tag", "attribute", "before", "after"):
        table.add_column(column, overflow="fold")
    changed = [tag for tag in sorted({*before.keys(), *after.keys()}) if _value(before, tag) != _value(after, tag)]
    for tag in changed:
        if not tag.is_private:
            name = (before if tag in before else after)[tag].name
            table.add_row(str(tag), name, Text(_value(before, tag)), Text(_value(after, tag)))
    counts = [sum(tag.is_private and tag in dataset for tag in changed) for dataset in (before, after)]
    table.add_row("", "private attributes that differ", *(str(count) for count in counts))
    return table


def _value(dataset: Dataset, tag: BaseTag) -> str:
    if tag not in dataset:
        return "—"
    element = dataset[tag]
    if element.VR == "SQ":
        return "; ".join(", ".join(f"{each.name} {each.repval}" for each in item) for item in element.value)[:200]
    return element.repval[:100]


def _links(pipeline: Pipeline, released: Sequence[Outcome], *, keep: bool) -> list[DownloadLink]:
    """Print download links: all of them where they outlive the demo."""
    audit = AuditLog(client("dynamodb"), pipeline.outputs[Output.LINK_AUDIT_TABLE_NAME])
    handler = PresignedUrlHandler(pipeline.processed_bucket, REGION, audit=audit, recipient="demo")
    keys = list(dict.fromkeys(_output_key(outcome) for outcome in released))
    links = [handler.generate_secure_download_url(key) for key in (keys if keep else keys[:LINKS_SHOWN])]
    console.print(f"\nDownload links (until {links[0].expires_at:%H:%M} UTC, or the emulator's end):")
    for link in links:
        console.print(Text(link.url), soft_wrap=True)
    if len(keys) > len(links):
        console.print(f"… and {len(keys) - len(links)} more: `make demo KEEP=1` prints all, and keeps them alive.")
    return links


def _check_download(link: DownloadLink, expected: bytes) -> list[str]:
    """Download through a link, as a researcher without credentials does, and compare."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(link.url, timeout=30) as answer:
        content = answer.read()
        content_type = answer.headers.get_content_type()
    if content != expected or content_type != "application/dicom":
        return [f"The download of {link.key} is not the processed object."]
    dataset = pydicom.dcmread(BytesIO(content))
    console.print(
        f"\nDownloaded the first one: {len(content):,} bytes, identical with the processed object; pydicom reads it"
        f" ({dataset.SOPClassUID.name}, de-identified: {dataset.get('PatientIdentityRemoved', 'not stated')})."
    )
    return []


def _output_key(outcome: Outcome) -> str:
    if outcome.output_key is None:
        raise ValueError("the object was not released")
    return outcome.output_key


def _source(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _explain(environment: Mapping[str, str], outputs: Mapping[Output, str]) -> None:
    """Say how to talk to the emulator that was left running, and how to stop it."""
    names = (
        *("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CONFIG_FILE"),
    )
    # A profile of the user's would be looked up, and older versions of the AWS CLI know the region by another name.
    setting = " ".join(("-u AWS_PROFILE", *(f"{name}={environment[name]}" for name in names)))
    raw, machine = outputs[Output.RAW_BUCKET_NAME], outputs[Output.STATE_MACHINE_ARN]
    console.print("\nThe emulator keeps running. With the AWS CLI, for instance:")
    for command in (
        f"aws s3 cp <file> s3://{raw}/<key>.dcm",
        f"aws stepfunctions list-executions --state-machine-arn {machine}",
        f"aws s3 ls --recursive s3://{outputs[Output.PROCESSED_BUCKET_NAME]}/",
    ):
        console.print(Text(f"  env {setting} {command}"), soft_wrap=True)
    console.print("Stop it with:\n  make stop")


if __name__ == "__main__":
    sys.exit(main())
