"""The state machine: three steps, and the ways an object ends: delivered, duplicate, quarantined, or failed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from imaging_pipeline.building_blocks.function import FunctionPlatform, PipelineFunction
from imaging_pipeline.building_blocks.observability import log_group
from imaging_pipeline.building_blocks.task import SERVICE_TIMEOUT_SECONDS, invoke
from imaging_pipeline.building_blocks.zones import MESSAGES, Zones
from imaging_pipeline.dicom_buckets import DicomBuckets
from imaging_pipeline.phi.audit import AuditTable
from imaging_pipeline.phi.ledger import Ledger
from imaging_pipeline.phi.pseudonym_key import PseudonymKey
from imaging_pipeline.phi.steps import Steps
from imaging_pipeline.phi.verdict_states import ATTEMPT, VerdictStates
from runtime.contract.audit import AuditEvent
from runtime.contract.events import EventType
from runtime.contract.ledger import LedgerAttribute, LedgerStatus
from runtime.contract.names import Metric, Output, State
from runtime.contract.steps import AppliedProfile, Outcome, StatusCode

SERVICE_TIMEOUT = sfn.Timeout.duration(Duration.seconds(SERVICE_TIMEOUT_SECONDS))

# Where a step's answer is, or the error it was caught with: `Error` is there either way.
STEP_PATH = "$.step"
UNEXPECTED_STATUS = "Pipeline.UnexpectedStatusCode"

# The three states of a step, and what each Parse* state keeps: what the steps before it told, and the step's own body.
OBJECT = {"object": "$.object"}
INGESTION_RESULT = {**OBJECT, "ingestion": "$.step.body"}
VALIDATION_RESULT = {**OBJECT, "ingestion": "$.ingestion", "validation": "$.step.body"}
DEIDENTIFICATION_RESULT = {**VALIDATION_RESULT, "validation": "$.validation", "deidentification": "$.step.body"}

# What consumers of the research zone are told: pseudonyms, codes and facts that identify nobody.
DELIVERED = {
    "object_id": "$.ingestion.object_id",
    "attempt": ATTEMPT,
    "output_key": "$.deidentification.output_key",
    "output_size": "$.deidentification.output_size",
    "profile": "$.deidentification.profile",
    "profile_hash": "$.deidentification.profile_hash",
    "modality": "$.ingestion.facts.modality",
    "sop_class_uid": "$.ingestion.facts.sop_class_uid",
    "transfer_syntax_uid": "$.ingestion.facts.transfer_syntax_uid",
}
APPLIED = tuple(AppliedProfile.model_fields)
QUARANTINED = {"object_id": "$.object_id", "attempt": ATTEMPT, "reason_codes": "$.reason_codes"}


class ProcessingWorkflow(Construct):
    """One execution takes one object from upload to its verdict.

    Attributes
    ----------
    state_machine
        Takes an `ExecutionInput`, under the name that this gives.
    steps
        The functions that it invokes.
    log_group
        What the executions did, without their data.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        platform: FunctionPlatform,
        buckets: DicomBuckets,
        ledger: Ledger,
        audit: AuditTable,
        bus: events.EventBus,
        pseudonym_key: PseudonymKey,
        zones: Zones,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config = platform.config
        self._raw_bucket = buckets.raw
        self._ledger = ledger
        self._zone = zone = zones.phi
        self.steps = Steps(
            self,
            "Steps",
            platform=platform,
            buckets=buckets,
            ledger=ledger,
            pseudonym_key=pseudonym_key,
            zones=zones,
        )
        self._verdicts = VerdictStates(
            self, config=config, ledger=ledger, audit=audit, code_version=platform.code_version, bus=bus
        )
        self.log_group = log_group(self, "Logs", name=f"/aws/vendedlogs/states/{config.name}", config=config, zone=zone)
        self.state_machine = sfn.StateMachine(
            self,
            "StateMachine",
            state_machine_name=config.workflow_name,
            definition_body=sfn.DefinitionBody.from_chainable(self._definition(buckets.raw)),
            state_machine_type=sfn.StateMachineType[config.workflow_type],
            timeout=Duration.seconds(config.execution_timeout_seconds),
            tracing_enabled=config.xray,
            encryption_configuration=zone.workflow_encryption(config.workflow_name),
            logs=sfn.LogOptions(destination=self.log_group, level=sfn.LogLevel.ALL, include_execution_data=False),
        )
        self._verdicts.grant(self.state_machine)

    @property
    def outputs(self) -> Mapping[Output, str]:
        """What a stage publishes of this."""
        return {
            Output.STATE_MACHINE_ARN: self.state_machine.state_machine_arn,
            Output.WORKFLOW_LOG_GROUP_NAME: self.log_group.log_group_name,
            **self.steps.outputs,
        }

    @property
    def starting_variables(self) -> Mapping[str, object]:
        """Environment variables of whoever starts executions."""
        return {
            **self._ledger.receiving_variables,
            "STATE_MACHINE_ARN": self._arn("stateMachine", self._config.workflow_name),
            "ACCEPTED_PREFIXES": json.dumps(self._config.accepted_prefixes),
            "ACCEPTED_SUFFIXES": json.dumps(self._config.accepted_suffixes),
        }

    def allow_starting(self, function: PipelineFunction) -> None:
        """Allow a function to start executions, and to look up an object's version where nothing names one."""
        function.allow(["states:StartExecution"], self._arn("stateMachine", self._config.workflow_name))
        if self._config.workflow_type == "STANDARD":  # whose names stay taken, maybe by an execution that ended
            function.allow(["states:DescribeExecution"], self._arn("execution", f"{self._config.workflow_name}:*"))
        function.allow(["s3:ListBucketVersions"], self._raw_bucket.bucket_arn)
        # An execution's input is encrypted when it starts.
        self._zone.allow(function.role, *MESSAGES, via="states")

    def _arn(self, resource: str, name: str) -> str:
        """Return the ARN of the state machine, or of its executions."""
        return Stack.of(self).format_arn(
            service="states", resource=resource, resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME
        )

    def _definition(self, raw_bucket: s3.Bucket) -> sfn.IChainable:
        self._on_error = self._error_path()
        self._on_rejection = self._quarantine_path(raw_bucket)
        deidentification = self._step(
            self.steps.deidentification,
            states=(
                State.DEIDENTIFICATION_STEP,
                State.CHECK_DEIDENTIFICATION_STATUS,
                State.PARSE_DEIDENTIFICATION_RESULT,
            ),
            keeps=DEIDENTIFICATION_RESULT,
            then=self._delivery_path(),
            unless=self._duplicate_path(),
        )
        validation = self._step(
            self.steps.validation,
            states=(State.VALIDATION_STEP, State.CHECK_VALIDATION_STATUS, State.PARSE_VALIDATION_RESULT),
            keeps=VALIDATION_RESULT,
            then=deidentification,
        )
        return self._step(
            self.steps.ingestion,
            states=(State.INGESTION_STEP, State.CHECK_INGESTION_STATUS, State.PARSE_INGESTION_RESULT),
            keeps=INGESTION_RESULT,
            then=validation,
        )

    def _step(
        self,
        function: PipelineFunction,
        *,
        states: tuple[State, State, State],
        keeps: Mapping[str, str],
        then: sfn.IChainable,
        unless: sfn.IChainable | None = None,
    ) -> sfn.IChainable:
        """Invoke a function, look at its verdict, and keep what the next steps need."""
        step, check, parse = states
        invocation = invoke(
            self,
            step,
            function,
            config=self._config,
            # Whole, since a path can't name what may be missing: profile and release.
            payload=sfn.TaskInput.from_json_path_at("$$.Execution.Input"),
            result_selector={
                "statusCode.$": "$.Payload.statusCode",
                "body.$": "$.Payload.body",
                "Error": UNEXPECTED_STATUS,
            },
            result_path=STEP_PATH,
        )
        invocation.add_catch(self._on_error, errors=[sfn.Errors.ALL], result_path=STEP_PATH)
        accepted, rejected = (sfn.Condition.number_equals(f"{STEP_PATH}.statusCode", code.value) for code in StatusCode)
        verdict = sfn.Choice(self, check)
        if unless:
            duplicate = sfn.Condition.string_equals(f"{STEP_PATH}.body.outcome", Outcome.DUPLICATE)
            verdict.when(sfn.Condition.and_(accepted, duplicate), unless)
        verdict.when(accepted, sfn.Pass(self, parse, parameters=_paths(keeps)).next(then))
        verdict.when(rejected, self._on_rejection)
        verdict.otherwise(self._on_error)
        return invocation.next(verdict)

    def _delivery_path(self) -> sfn.IChainable:
        """Record, announce and count a result that is in the processed bucket."""
        success = sfn.Succeed(self, State.SUCCESS)
        metric = self._verdicts.count(State.PUBLISH_SUCCESS_METRIC, Metric.SUCCESS, then=success)
        announcement = self._verdicts.announce(
            State.ANNOUNCE_DELIVERY, EventType.INSTANCE_DELIVERED, DELIVERED, then=metric
        )
        facts = {
            attribute: f"$.deidentification.{attribute}"
            for attribute in (
                LedgerAttribute.OUTPUT_KEY,
                LedgerAttribute.PROFILE,
                LedgerAttribute.PROFILE_HASH,
                LedgerAttribute.KEY_ID,
            )
        }
        record = self._verdicts.record(State.RECORD_DELIVERY, LedgerStatus.DELIVERED, facts, then=announcement)
        result = _result("$.deidentification")
        return self._verdicts.audit(State.AUDIT_DELIVERY, AuditEvent.DELIVERED, result, then=record)

    def _duplicate_path(self) -> sfn.IChainable:
        """Record and count an object whose instance was delivered before, with the same bytes: nothing was written."""
        duplicate = sfn.Succeed(self, State.DUPLICATE)
        metric = self._verdicts.count(State.PUBLISH_DUPLICATE_METRIC, Metric.DUPLICATE, then=duplicate)
        body = f"{STEP_PATH}.body"
        facts = {
            attribute: f"{body}.{attribute}" for attribute in (LedgerAttribute.DUPLICATE_OF, LedgerAttribute.OUTPUT_KEY)
        }
        record = self._verdicts.record(State.RECORD_DUPLICATE, LedgerStatus.DUPLICATE, facts, then=metric)
        result = _result(body) | {"duplicate_of": f"{body}.duplicate_of"}
        return self._verdicts.audit(State.AUDIT_DUPLICATE, AuditEvent.DUPLICATE, result, then=record)

    def _quarantine_path(self, raw_bucket: s3.Bucket) -> sfn.IChainable:
        """Leave the object where it is, as the evidence, and tell why by its tag, the metric and the output."""
        quarantined = sfn.Succeed(self, State.QUARANTINED)
        metric = self._verdicts.count(State.PUBLISH_QUARANTINE_METRIC, Metric.QUARANTINE, then=quarantined)
        announcement = self._verdicts.announce(
            State.ANNOUNCE_QUARANTINE, EventType.INSTANCE_QUARANTINED, QUARANTINED, then=metric
        )
        facts = {LedgerAttribute.REASON_CODES: "$.reason_codes"}
        record = self._verdicts.record(State.RECORD_QUARANTINE, LedgerStatus.QUARANTINED, facts, then=announcement)
        audited = {name: f"$.{name}" for name in ("reason_codes", *APPLIED)}
        audit = self._verdicts.audit(State.AUDIT_QUARANTINE, AuditEvent.QUARANTINED, audited, then=record)
        body = f"{STEP_PATH}.body"
        rejection = {name: f"{body}.{name}" for name in ("object", "object_id", "reason_codes", "findings", *APPLIED)}
        handler = sfn.Pass(self, State.QUARANTINE_HANDLER, parameters={"verdict": "quarantined", **_paths(rejection)})
        tag = tasks.CallAwsService(
            self,
            State.TAG_QUARANTINED_OBJECT,
            service="s3",
            action="putObjectTagging",
            # With a version id S3 asks for this right instead of s3:PutObjectTagging.
            iam_action="s3:PutObjectVersionTagging",
            iam_resources=[raw_bucket.arn_for_objects("*")],
            parameters={
                "Bucket.$": "$.object.bucket",
                "Key.$": "$.object.key",
                "VersionId.$": "$.object.version_id",
                "Tagging": {
                    "TagSet": [
                        {"Key": "verdict", "Value": "quarantined"},
                        {"Key": "reasons", "Value.$": "$.reason_codes"},
                    ]
                },
            },
            result_path=sfn.JsonPath.DISCARD,
            task_timeout=SERVICE_TIMEOUT,
        )
        tag.add_retry(interval=Duration.seconds(2), max_attempts=3, backoff_rate=2)
        # Somebody may have deleted the object since: it stays quarantined, and is counted.
        tag.add_catch(audit.start_state, errors=[sfn.Errors.ALL], result_path=sfn.JsonPath.DISCARD)
        return handler.next(tag).next(audit)

    def _error_path(self) -> sfn.Pass:
        """Keep the error's name and drop its text, which may quote what the function was reading."""
        failure = sfn.Fail(
            self,
            State.FAILURE,
            error_path="$.error",
            cause="A step failed after its retries; its function's log group has the reason under the object's id.",
        )
        metric = self._verdicts.count(State.PUBLISH_FAILURE_METRIC, Metric.FAILURE, then=failure)
        facts = {LedgerAttribute.ERROR: "$.error"}
        record = self._verdicts.record(State.RECORD_FAILURE, LedgerStatus.FAILED, facts, then=metric)
        audit = self._verdicts.audit(State.AUDIT_FAILURE, AuditEvent.FAILED, {"error": "$.error"}, then=record)
        handler = sfn.Pass(
            self, State.ERROR_HANDLER, parameters={"verdict": "failed", **_paths({"error": f"{STEP_PATH}.Error"})}
        )
        handler.next(audit)
        return handler


def _result(body: str) -> dict[str, str]:
    """Paths of what the audit log keeps of a result, in the body of the step that wrote it."""
    key = f"{body}.output_key"
    patient, study = (f"States.ArrayGetItem(States.StringSplit({key}, '/'), {position})" for position in (0, 1))
    return {
        "output_key": key,
        "output_study": f"States.Format('{{}}/{{}}', {patient}, {study})",
        **{name: f"{body}.{name}" for name in APPLIED},
    }


def _paths(fields: Mapping[str, str]) -> dict[str, Any]:
    """Fields of a payload template that come from the state's input."""
    return {f"{name}.$": path for name, path in fields.items()}
