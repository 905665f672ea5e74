"""What a function's process writes and sends, by whatever settings and however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.markers import Search
from tests.unit.redaction.provocations import ERRORS, EXITS, KEY, MARKER

SEARCH = Search([MARKER])
REPOSITORY = Path(__file__).parents[3]
IN_LAMBDA = {
    "PATH": os.environ["PATH"],
    "LAMBDA_TASK_ROOT": "/var/task",
    "AWS_LAMBDA_FUNCTION_NAME": "function",
    "AWS_DEFAULT_REGION": "us-east-1",
    "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
    "POWERTOOLS_SERVICE_NAME": "function",
    "POWERTOOLS_METRICS_NAMESPACE": "MedicalImaging/Pipeline",
}
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "as deployed": {"POWERTOOLS_LOG_LEVEL": "INFO"},
    "talkative": {
        "POWERTOOLS_LOG_LEVEL": "DEBUG",
        "POWERTOOLS_DEBUG": "true",
        "POWERTOOLS_LOGGER_LOG_EVENT": "true",
        "POWERTOOLS_TRACER_CAPTURE_RESPONSE": "true",
        "POWERTOOLS_TRACER_CAPTURE_ERROR": "true",
        "AWS_LAMBDA_LOG_LEVEL": "DEBUG",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "PYTHONWARNINGS": "always",
        "PYTHONDEVMODE": "1",
    },
}


def start(environment: Mapping[str, str], *arguments: str, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.unit.redaction.lambda_process", *arguments],
        cwd=REPOSITORY,
        env={**IN_LAMBDA, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=pass_fds,
    )


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_should_write_and_trace_nothing_of_any_error(settings: Mapping[str, str], tmp_path: Path) -> None:
    path = tmp_path / "segments"
    with path.open("w") as segments:
        process = start(settings, str(segments.fileno()), pass_fds=(segments.fileno(),))
        written, _ = process.communicate(timeout=120)
    assert process.returncode == 0, written
    assert not SEARCH.find(written), written
    assert "was not told" not in written
    assert written.count('"step failed"') == 2 * len((*ERRORS, *EXITS))
    traced = path.read_text()
    assert not SEARCH.find(traced), traced
    messages = [json.loads(line).partition("\n")[2] for line in traced.splitlines()]
    documents = [json.loads(message) for message in messages]
    failed = [document for document in documents if document.get("fault")]
    assert len(documents) == 2 + 2 * len((*ERRORS, *EXITS))
    assert {each["type"] for document in failed for each in document["cause"]["exceptions"]} == {"StepFailedError"}
    assert all("metadata" not in document for document in documents)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_should_write_nothing_when_it_is_killed_for_its_time(number: signal.Signals) -> None:
    process = start(SETTINGS["talkative"], "sleep")
    assert process.stdout is not None
    said = ""
    while "asleep" not in said:
        said += process.stdout.readline()
    process.send_signal(number)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == -number
    assert not SEARCH.find(said + rest)


@pytest.mark.parametrize("function", ["ingestion", "deidentification", "dispatcher", "reconciliation", "completeness"])
def test_should_quote_nothing_of_its_environment_when_it_can_not_start(function: str) -> None:
    broken = {
        "STAGE": MARKER,
        "AWS_SECRET_ACCESS_KEY": MARKER,
        "AWS_SESSION_TOKEN": MARKER,
        "ACCEPTED_SUFFIXES": KEY,
        "STUCK_AFTER_SECONDS": MARKER,
        "PROFILE": KEY,
        "STRICT": MARKER,
    }
    done = subprocess.run(
        [sys.executable, "-c", f"import runtime.handlers.{function}"],
        cwd=REPOSITORY,
        env={**IN_LAMBDA, **broken},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ValidationError" in done.stderr
    assert not SEARCH.find(done.stdout + done.stderr), done.stderr
