"""ValidationStep: check the header of one object version against DICOM."""

from __future__ import annotations

import os
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.parser import parse

from runtime.aws import storage
from runtime.contract.objects import ExecutionInput, Finding, Severity
from runtime.contract.steps import StepResponse, ValidationBody
from runtime.contract.variables import ValidationVariables
from runtime.dicom.checks.compliance import check_compliance
from runtime.dicom.errors import DicomError
from runtime.dicom.findings import as_errors, from_error, reported
from runtime.dicom.header import read_header
from runtime.observability.entry_points import logger, metrics, step

variables = ValidationVariables.model_validate(os.environ)
s3 = storage.s3_client()


@step
def handler(event: dict[str, Any]) -> StepResponse:
    """Answer with the findings of a compliance check; reject the object if one of them is an error."""
    source = storage.S3Object(s3, parse(event=event, model=ExecutionInput).object)
    logger.append_keys(object_id=source.coordinates.object_id)
    findings = find(source)
    if variables.STRICT:
        findings = as_errors(findings)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    codes = sorted({finding.code for finding in findings})
    metrics.add_metric(name="BytesRead", unit=MetricUnit.Bytes, value=source.bytes_read)
    metrics.add_metric(name="Findings", unit=MetricUnit.Count, value=len(findings))
    logger.info("validated", extra={"codes": codes, "errors": len(errors), "bytes_read": source.bytes_read})
    if errors:
        return StepResponse.rejected(source.coordinates, reported(findings))
    return StepResponse.accepted(
        ValidationBody(warning_count=len(findings), warning_codes=codes, bytes_read=source.bytes_read)
    )


def find(source: storage.S3Object) -> list[Finding]:
    """Return every finding; of an unreadable header, the one that stopped the reading."""
    try:
        return check_compliance(read_header(source))
    except DicomError as error:
        return [from_error(error)]
