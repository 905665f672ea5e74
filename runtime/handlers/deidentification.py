"""DeidentificationStep: write the de-identified copy of one object version into the research zone."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.parser import parse

from runtime.aws import clients, storage
from runtime.contract.objects import ExecutionInput
from runtime.contract.steps import DeidentificationBody, Outcome, PixelIdentity, StepResponse
from runtime.contract.variables import DeidentificationVariables
from runtime.deidentification.engine import Deidentifier, RejectedError
from runtime.deidentification.profile import load_profile
from runtime.deidentification.pseudonyms import Pseudonyms
from runtime.dicom.errors import DicomError
from runtime.dicom.findings import from_error, reported
from runtime.dicom.header import read_header
from runtime.dicom.tags import SOP_INSTANCE_UID
from runtime.ledger.claims import InstanceClaim
from runtime.ledger.rows import Ledger
from runtime.ledger.table import LEDGER_ATTEMPTS
from runtime.observability.entry_points import logger, metrics, step

variables = DeidentificationVariables.model_validate(os.environ)
s3 = storage.s3_client()
dynamodb = clients.client("dynamodb", attempts=LEDGER_ATTEMPTS)
ledger = Ledger(dynamodb, variables.LEDGER_TABLE, retention_days=variables.LEDGER_RETENTION_DAYS)


@cache
def deidentifier(profile: str) -> Deidentifier:
    """Return the engine with a profile and the stage's key, made once an execution environment."""
    key = storage.read_secret(variables.PSEUDONYM_SECRET_ARN)
    return Deidentifier(load_profile(profile), Pseudonyms.from_hex(key))


@step
def handler(event: dict[str, Any]) -> StepResponse:
    """Answer with the result's key and the report, or reject the object."""
    execution = parse(event=event, model=ExecutionInput)
    source = storage.S3Object(s3, execution.object)
    logger.append_keys(object_id=source.coordinates.object_id)
    try:
        body = deidentify(execution, source)
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
    return StepResponse.rejected(source.coordinates, reported(findings), engine(execution).applied)


def engine(execution: ExecutionInput) -> Deidentifier:
    """Return the engine for an execution: with its profile, or by default the stage's."""
    return deidentifier(execution.profile or variables.PROFILE)


def deidentify(execution: ExecutionInput, source: storage.S3Object) -> DeidentificationBody:
    """De-identify one object version and write the result, unless its instance is delivered."""
    header = read_header(source)
    deidentified = engine(execution).deidentify(header, release_risks=execution.release is not None)
    result = storage.Result(
        variables.PROCESSED_BUCKET, deidentified.output_key, deidentified.header, deidentified.origin
    )
    sop_instance_uid = header.text(SOP_INSTANCE_UID) or ""
    delivery = InstanceClaim(ledger, s3, source, sop_instance_uid).deliver(result)
    is_re_encoded = header.transfer_syntax.is_deflated and header.data_set.bulk_data
    report = deidentified.report
    return DeidentificationBody(
        outcome=Outcome.DUPLICATE if delivery.duplicate_of else Outcome.DELIVERED,
        duplicate_of=delivery.duplicate_of,
        output_key=delivery.output_key,
        output_size=result.size,
        profile=report.profile,
        profile_hash=report.profile_hash,
        key_id=report.key_id,
        action_counts={action.name: count for action, count in report.action_counts.items()},
        risks=list(report.risks),
        pixel_identity=PixelIdentity.RE_ENCODED if delivery.identity and is_re_encoded else delivery.identity,
        bytes_read=source.bytes_read,
        bytes_written=len(result.header) if delivery.identity else 0,
    )
