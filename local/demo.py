"""`make demo`: the whole pipeline on this machine, with real DICOM files, in a minute."""

from __future__ import annotations

import argparse
import logging
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import pydicom

from cli.operations.links import DownloadLink, PresignedUrlHandler
from local import display
from local.deployment import deploy, shell_variables
from local.display import Steps, say
from local.emulator import Emulator
from local.environment import REGION, isolation
from local.errors import LocalRunError
from local.pipeline import Outcome, Pipeline
from local.samples import samples, users_own
from runtime.aws.audit import AuditLog
from runtime.aws.clients import client
from runtime.contract.names import Output, State

TALKING = """
The pipeline keeps running. A shell that talks to it, and to nothing of yours on AWS:

  eval "$(make -s env)"

For instance, in that shell:

  imaging-pipeline quarantine list
  aws s3 cp FILE "s3://$RAW_BUCKET_NAME/KEY.dcm"
  aws s3 ls --recursive "s3://$PROCESSED_BUCKET_NAME/"
  aws stepfunctions list-executions --state-machine-arn "$STATE_MACHINE_ARN"

`make stop` ends it.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 tells that every object got a verdict and the download was what it should be."""
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--dicom", default="", metavar="PATH", help="a DICOM file of yours, or a folder of them")
    parser.add_argument("--keep", action="store_true", help="leave the pipeline running")
    options = parser.parse_args(arguments)
    logging.disable(logging.INFO)  # the delivery module's log lines are for CloudWatch, not for this table
    try:
        objects = users_own(Path(options.dicom)) if options.dicom else samples()
        problems = _run(objects, keep=options.keep)
    except LocalRunError as error:
        problems = [str(error)]
    except OSError as error:
        problems = [f"{error.filename or 'This machine'}: {error.strerror or error}."]
    except KeyboardInterrupt:
        say("Stopped; nothing is left running.")
        return 130
    for problem in problems:
        say(problem, "red")
    return 1 if problems else 0


def _run(objects: Mapping[str, bytes | Path], *, keep: bool) -> list[str]:
    """Run the pipeline over the objects, show what it did, and return what is not as it should be."""
    with display.steps() as steps, Emulator(progress=steps.begin) as emulator:
        environment, outputs = deploy(emulator, steps.begin)
        with isolation(environment):
            pipeline = Pipeline(outputs)
            outcomes = _process(pipeline, objects, steps)
            steps.finish()
            problems = _show(pipeline, objects, outcomes, keep=keep)
        if keep:
            emulator.keep(shell_variables(environment, outputs))
            say(TALKING)
    return problems


def _process(pipeline: Pipeline, objects: Mapping[str, bytes | Path], steps: Steps) -> list[Outcome]:
    """Upload the objects, and follow each to its end."""
    steps.begin(f"Uploading and processing {len(objects)} objects", len(objects))
    outcomes = []
    for outcome in pipeline.process_all(objects):
        outcomes.append(outcome)
        steps.advance()
    order = {key: position for position, key in enumerate(objects)}
    return sorted(outcomes, key=lambda outcome: order[outcome.key])


def _show(
    pipeline: Pipeline, objects: Mapping[str, bytes | Path], outcomes: Sequence[Outcome], *, keep: bool
) -> list[str]:
    """Print what became of the objects, and return what is not as it should be."""
    display.verdicts(outcomes)
    problems = [f"{each.key} failed: {display.why(each)}" for each in outcomes if each.end is State.FAILURE]
    leaks = [outcome.key for outcome in outcomes if outcome.released and outcome.key.startswith("broken/")]
    problems += [f"{key} must not be delivered, and was." for key in leaks]
    released = [outcome for outcome in outcomes if outcome.released]
    if released:
        first = released[0]
        result = pipeline.processed(_output_key(first))
        display.changes(first.key, _content(objects[first.key]), result)
        links = _links(pipeline, released if keep else [first])
        if keep:  # without, they would be dead before anybody could click
            display.links(links)
        problems += _check_download(links[0], result)
    elif any(outcome.key.startswith("valid/") for outcome in outcomes):
        problems.append("No object was delivered.")
    return problems


def _links(pipeline: Pipeline, released: Sequence[Outcome]) -> list[DownloadLink]:
    """Return download links for what was released."""
    audit = AuditLog(client("dynamodb"), pipeline.outputs[Output.LINK_AUDIT_TABLE_NAME])
    handler = PresignedUrlHandler(pipeline.processed_bucket, REGION, audit=audit, recipient="demo")
    keys = dict.fromkeys(_output_key(outcome) for outcome in released)
    return [handler.generate_secure_download_url(key) for key in keys]


def _check_download(link: DownloadLink, expected: bytes) -> list[str]:
    """Download through a link, as a researcher without credentials does, and compare."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(link.url, timeout=30) as answer:
        content = answer.read()
        content_type = answer.headers.get_content_type()
    if content != expected or content_type != "application/dicom":
        return [f"The download of {link.key} is not the processed object."]
    dataset = pydicom.dcmread(BytesIO(content))
    say(
        f"\nDownloaded the first result through a link, without credentials: {len(content):,} bytes, as processed."
        f" pydicom reads it: {dataset.SOPClassUID.name}, patient {dataset.get('PatientID', 'unknown')}, identity"
        f" removed: {dataset.get('PatientIdentityRemoved', 'not stated')}."
    )
    return []


def _output_key(outcome: Outcome) -> str:
    if outcome.output_key is None:
        raise ValueError("the object was not released")
    return outcome.output_key


def _content(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


if __name__ == "__main__":
    sys.exit(main())
