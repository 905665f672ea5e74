"""The states that tell the world of a verdict: audit log, ledger, the stage's event bus, the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import Aws, Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from imaging_pipeline.building_blocks.observability import publishing_metrics
from imaging_pipeline.building_blocks.task import SERVICE_TIMEOUT_SECONDS
from imaging_pipeline.phi.audit import AuditTable
from imaging_pipeline.phi.ledger import Ledger
from imaging_pipeline.stages.config import StageConfig
from runtime.contract.audit import EVENT_SHARD, AuditEvent, AuditRecord, audit_insert, verdict_record_id
from runtime.contract.events import Announcement, EventType
from runtime.contract.indexes import SHARDS, shard_key
from runtime.contract.ledger import LEDGER_CONDITION, LEDGER_VERDICTS, LedgerAttribute, LedgerStatus, expression_names
from runtime.contract.names import METRIC_NAMESPACE, PROJECT, STAGE_DIMENSION, Metric, State

VERSION: int = Announcement().version

# The dispatcher named the execution: the object's id, and from the second attempt on `-<attempt>`.
OBJECT_ID = "States.ArrayGetItem(States.StringSplit($$.Execution.Name, '-'), 0)"
ATTEMPT = "$$.Execution.Input.attempt"
ATTEMPT_AS_TEXT = f"States.Format('{{}}', {ATTEMPT})"
LATE_OR_TWICE = "DynamoDB.ConditionalCheckFailedException"
TWICE = "DynamoDb.DuplicateItemException"  # the prefix of what isn't an optimized integration


class VerdictStates:
    """Makes the states. None of them is a CDK task, whose grants would be wider than what they do.

    Parameters
    ----------
    scope
        Owner of the states.
    config
        The stage.
    ledger
        Where the verdict that stands is recorded.
    audit
        Where every verdict is.
    code_version
        Of the functions that reach the verdicts.
    bus
        Where they are announced.
    """

    def __init__(
        self,
        scope: Construct,
        *,
        config: StageConfig,
        ledger: Ledger,
        audit: AuditTable,
        code_version: str,
        bus: events.EventBus,
    ) -> None:
        self._scope = scope
        self._stage = config.stage
        self._ledger = ledger
        self._audit = audit
        self._code_version = code_version
        self._bus = bus

    def audit(self, state: State, event: AuditEvent, facts: Mapping[str, str], *, then: sfn.IChainable) -> sfn.Chain:
        """Add a verdict to the audit log, unless the execution has been here before; there is no way on without it."""
        values: dict[str, Any] = {
            "subject": {"S.$": OBJECT_ID},
            "record_id": {"S.$": f"States.Format('{verdict_record_id('{}', event)}', {ATTEMPT})"},
            "version": {"N": str(AuditRecord.model_fields["version"].default)},
            "event": {"S": event.value},
            EVENT_SHARD: {"S.$": _any_shard(event)},
            "at": {"S.$": "$$.State.EnteredTime"},
            "attempt": {"N.$": ATTEMPT_AS_TEXT},
            "execution": {"S.$": "$$.Execution.Id"},
            "code_version": {"S": self._code_version},
        }
        values |= {attribute: {"S.$": path} for attribute, path in facts.items()}
        statement = audit_insert(self._audit.table.table_name, values)
        task = self._task(
            state, "aws-sdk:dynamodb:executeStatement", {"Statement": statement, "Parameters": list(values.values())}
        )
        return self._recorded(task, TWICE, then)

    def record(
        self, state: State, status: LedgerStatus, facts: Mapping[LedgerAttribute, str], *, then: sfn.IChainable
    ) -> sfn.Chain:
        """Record a verdict, unless the ledger knows a later one: then this one is late, or comes twice.

        There is no way on without the record: where the ledger stays away, the execution fails here, and goes on from
        here when it is redriven.
        """
        values: dict[str, Any] = {
            f":{LedgerAttribute.STATUS}": {"S": status.value},
            f":{LedgerAttribute.RANK}": {"N": str(status.rank)},
            f":{LedgerAttribute.ATTEMPT}": {"N.$": ATTEMPT_AS_TEXT},
            f":{LedgerAttribute.UPDATED_AT}": {"S.$": "$$.State.EnteredTime"},
            f":{LedgerAttribute.VERDICT_SHARD}": {"S.$": _any_shard(status)},
        }
        values |= {f":{attribute}": {"S.$": path} for attribute, path in facts.items()}
        update = LEDGER_VERDICTS[status]
        task = self._task(
            state,
            "dynamodb:updateItem",
            {
                "TableName": self._ledger.table.table_name,
                "Key": {LedgerAttribute.OBJECT_ID: {"S.$": OBJECT_ID}},
                "UpdateExpression": update,
                "ConditionExpression": LEDGER_CONDITION,
                "ExpressionAttributeNames": expression_names(update, LEDGER_CONDITION),
                "ExpressionAttributeValues": values,
            },
        )
        return self._recorded(task, LATE_OR_TWICE, then)

    def announce(self, state: State, event: EventType, fields: Mapping[str, str], *, then: sfn.IChainable) -> sfn.Chain:
        """Put an event on the stage's bus; as with a record, there is no way on without it."""
        entry = {
            "EventBusName": self._bus.event_bus_name,
            "Source": PROJECT,
            "DetailType": event,
            "Detail": {"version": VERSION, **{f"{name}.$": path for name, path in fields.items()}},
        }
        task = self._task(state, "events:putEvents", {"Entries": [entry]})
        _retry_outage(task)
        return task.next(then)

    def count(self, state: State, metric: Metric, *, then: sfn.IChainable) -> sfn.Chain:
        """Count one execution. A count that can't be published never changes the verdict."""
        datum = {
            "MetricName": metric,
            "Dimensions": [{"Name": STAGE_DIMENSION, "Value": self._stage}],
            "Unit": "Count",
            "Value": 1,
        }
        task = self._task(
            state, "aws-sdk:cloudwatch:putMetricData", {"Namespace": METRIC_NAMESPACE, "MetricData": [datum]}
        )
        task.add_retry(interval=Duration.seconds(2), max_attempts=3, backoff_rate=2)
        task.add_catch(then.start_state, errors=[sfn.Errors.ALL], result_path=sfn.JsonPath.DISCARD)
        return task.next(then)

    def grant(self, state_machine: sfn.StateMachine) -> None:
        """Allow a state machine what these states do."""
        self._audit.allow_recording(state_machine)
        self._ledger.allow(state_machine, "UpdateItem")
        self._bus.grant_put_events_to(state_machine)
        state_machine.add_to_role_policy(publishing_metrics())

    def _recorded(self, task: sfn.CustomState, known: str, then: sfn.IChainable) -> sfn.Chain:
        """Wait for the table, and go on where the record was made or, by this error, is known to be there."""
        task.add_retry(errors=[known], max_attempts=0)
        _retry_outage(task)
        task.add_catch(then.start_state, errors=[known], result_path=sfn.JsonPath.DISCARD)
        return task.next(then)

    def _task(self, state: State, action: str, parameters: Mapping[str, Any]) -> sfn.CustomState:
        definition = {
            "Type": "Task",
            "Resource": f"arn:{Aws.PARTITION}:states:::{action}",
            "Parameters": dict(parameters),
            "ResultPath": sfn.JsonPath.DISCARD,
            "TimeoutSeconds": SERVICE_TIMEOUT_SECONDS,
        }
        return sfn.CustomState(self._scope, state, state_json=definition)


def _any_shard(kind: str) -> str:
    """Return the expression of one of a kind's shards. Where `MathRandom` leaves out its end, the last stays empty."""
    return f"States.Format('{shard_key(kind, '{}')}', States.MathRandom(0, {SHARDS - 1}))"


def _retry_outage(task: sfn.CustomState) -> None:
    """Whatever keeps a service away, wait for it: a quarter of an hour on average, half an hour at most."""
    task.add_retry(
        errors=[sfn.Errors.ALL],
        interval=Duration.seconds(1),
        backoff_rate=2,
        max_attempts=40,
        max_delay=Duration.seconds(60),
        jitter_strategy=sfn.JitterType.FULL,
    )
