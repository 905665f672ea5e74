import json
import os
import subprocess
import sys
from typing import Any

import pytest
from botocore.exceptions import ClientError

from runtime.contract.names import STEP_FAILED
from runtime.contract.objects import ObjectCoordinates
from runtime.contract.steps import StepResponse, ValidationBody
from runtime.contract.variables import DeidentificationVariables, FunctionVariables
from runtime.dicom.errors import DicomError
from runtime.dicom.header import read_header
from runtime.dicom.source import BytesSource
from runtime.observability.entry_points import StepFailedError, logger, step, tracer
from runtime.observability.redaction import describe
from tests.unit.conftest import Context

MARKER = "DOE^JANE"
OBJECT = ObjectCoordinates(bucket="raw", key="scan.dcm", version_id="1", size=1, etag="")
ACCEPTED = StepResponse.accepted(ValidationBody(warning_count=0, warning_codes=[], bytes_read=0))


def raise_botocore_error(_: dict[str, Any]) -> StepResponse:
    raise ClientError({"Error": {"Code": "AccessDenied", "Message": f"{MARKER} on {MARKER}.dcm"}}, "GetObject")


def test_should_name_class_code_and_line_of_a_failure(output: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StepFailedError, match=r"^ClientError GetObject AccessDenied entry_points\.py:\d+$"):
        step(raise_botocore_error)({}, Context())
    lines = [json.loads(line) for line in output.readouterr().out.splitlines()]
    (failure,) = [line["failure"] for line in lines if line.get("message") == "step failed"]
    assert failure.startswith("ClientError GetObject AccessDenied")


def test_should_name_the_line_in_our_code_when_a_library_raises() -> None:
    with pytest.raises(DicomError) as caught:
        read_header(BytesSource(b""))
    assert describe(caught.value).startswith("DicomError header.py:")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_should_count_outcomes_in_the_namespace_without_a_warning(
    output: pytest.CaptureFixture[str], count: int
) -> None:
    handler = step(lambda _: ACCEPTED)
    rejecting = step(lambda _: StepResponse.rejected(OBJECT, []))
    for _ in range(count):
        handler({}, Context())
        rejecting({}, Context())
    metrics = [json.loads(line) for line in output.readouterr().out.splitlines() if "_aws" in line]
    assert sum("Accepted" in line for line in metrics) == count
    assert sum("Rejected" in line for line in metrics) == count
    assert all(line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "MedicalImaging/Pipeline" for line in metrics)


def test_should_count_a_failure(output: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StepFailedError):
        step(raise_botocore_error)({}, Context())
    assert any("Failed" in json.loads(line) for line in output.readouterr().out.splitlines())


def test_should_forget_keys_of_the_invocation_before(output: pytest.CaptureFixture[str]) -> None:
    @step
    def handler(event: dict[str, Any]) -> StepResponse:
        if "object_id" in event:
            logger.append_keys(object_id=event["object_id"])
        logger.info("working")
        return ACCEPTED

    handler({"object_id": "0123"}, Context())
    handler({}, Context())
    lines = [json.loads(line) for line in output.readouterr().out.splitlines() if "working" in line]
    assert [line.get("object_id") for line in lines] == ["0123", None]
    assert {line["function_request_id"] for line in lines} == {Context().aws_request_id}


def test_should_not_trace_outside_of_lambda() -> None:
    assert tracer.disabled


@pytest.mark.parametrize("is_disabled", [True, False])
def test_should_trace_in_lambda_unless_the_stage_says_otherwise(is_disabled: bool) -> None:
    """The variable is what the infrastructure writes: a function that sends no traces makes none either."""
    variables = {"LAMBDA_TASK_ROOT": "/var/task", "POWERTOOLS_TRACE_DISABLED": str(is_disabled).lower()}
    script = "from runtime.observability.entry_points import tracer; print(tracer.disabled)"
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | variables, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(is_disabled)


def test_should_not_quote_the_environment_when_a_variable_is_missing() -> None:
    with pytest.raises(ValueError, match="PROCESSED_BUCKET") as caught:
        DeidentificationVariables.model_validate({"STAGE": "test", "AWS_SECRET_ACCESS_KEY": MARKER})
    assert MARKER not in str(caught.value)
    assert FunctionVariables.model_config.get("hide_input_in_errors")


def test_should_raise_what_the_workflow_retries() -> None:
    assert StepFailedError.__name__ == STEP_FAILED
