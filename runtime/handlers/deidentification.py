"""DeidentificationStep: write the de-identified copy of one object version into the research zone."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.parser import parse

from runtime import storage
from runtime.contract import DeidentificationBody, DeidentificationVariables, PixelIdentity, StepInput, StepResponse
from runtime.deidentification.engine import Deidentifier, RejectedError
from runtime.deidentification.profile import load_profile
from runtime.deidentification.pseudonyms import Pseudonyms
from runtime.dicom.errors import DicomError
from runtime.dicom.findings import from_error, reported
from runtime.dicom.header import read_header
from runtime.observability import logger, metrics, step

variables = DeidentificationVariables.model_validate(os.environ)
s3 = storage.s3_client()


@cache
def deidentifier() -> Deidentifier:
    """Return the engine with the stage's profile and key, made once per execution environment."""
    key = storage.read_secret(variables.PSEUDONYM_SECRET_ARN)
    return Deidentifier(load_profile(variables.PROFILE), Pseudonyms.from_hex(key))


@step
def handler(event: dict[str, Any]) -> StepResponse:
    """Answer with the result's key and what was done, or reject the object."""
    source = storage.S3Object(s3, parse(event=event, model=StepInput).object)
    logger.append_keys(object_id=source.coordinates.object_id)
    try:
        body = deidentify(source)
    except RejectedError as rejection:
        findings = rejection.findings
    except DicomError as error:
        findings = [from_error(error)]
    else:
        metrics.add_metric(name="BytesRead", unit=MetricUnit.Bytes, value=source.bytes_read)
        metrics.add_metric(name="BytesWritten", unit=MetricUnit.Bytes, value=body.bytes_written)
        logger.info("deidentified", extra={"report": body.model_dump(mode="json", exclude={"output_key"})})
        return StepResponse.accepted(body)
    logger.info("rejected", extra={"reasons": [finding.code for finding in findings]})
    return StepResponse.rejected(source.coordinates, reported(findings))


def deidentify(source: storage.S3Object) -> DeidentificationBody:
    """De-identify one object version and write the result."""
    header = read_header(source)
    deidentified = deidentifier().deidentify(header)
    start, stop = deidentified.bulk_data
    result = storage.Result(variables.PROCESSED_BUCKET, deidentified.output_key, deidentified.content, start, stop)
    identity = storage.write_result(s3, source, result)
    if header.transfer_syntax.is_deflated and header.data_set.bulk_data:
        identity = PixelIdentity.RE_ENCODED
    report = deidentified.report
    return DeidentificationBody(
        output_key=deidentified.output_key,
        output_size=result.size,
        profile=report.profile,
        profile_hash=report.profile_hash,
        key_id=report.key_id,
        action_counts={action.name: count for action, count in report.action_counts.items()},
        risks=list(report.risks),
        pixel_identity=identity,
        bytes_read=source.bytes_read,
        bytes_written=len(deidentified.content),
    )
