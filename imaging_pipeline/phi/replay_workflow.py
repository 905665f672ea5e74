"""ReplayWorkflow: runs raw objects again, all of them or those that a filter selects."""

from __future__ import annotations

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from imaging_pipeline.building_blocks.function import FunctionPlatform, PipelineFunction
from imaging_pipeline.building_blocks.observability import log_group
from imaging_pipeline.building_blocks.task import SERVICE_TIMEOUT_SECONDS, invoke
from imaging_pipeline.building_blocks.zones import Zone
from imaging_pipeline.dicom_buckets import DicomBuckets
from imaging_pipeline.phi.ledger import Ledger
from imaging_pipeline.phi.processing_workflow import ProcessingWorkflow
from runtime.contract.names import Function, ReplayState
from runtime.contract.variables import ReplayVariables

RESULTS_PREFIX = "replays/"
ANSWER = "$.answer"
"""Of the replay function, in a child of the map."""
LOOK_SECONDS = 5
"""Between two looks at an attempt. No key holds its place for less, which bounds what is started as well."""
RUN = "$.run"
COUNTS = "$.counts"
UNREPLAYED = ("Failed", "TimedOut", "Aborted")
"""Counts of a map's items that are none of those replayed."""
TIMEOUT = Duration.days(30)


class ReplayWorkflow(Construct):
    """One execution lists the raw bucket below a prefix, and asks the replay function about each key.

    A child of the map holds its place until the attempt that it started has a verdict, so that the map's concurrency
    bounds what is in flight. A child is EXPRESS: its looks are no state transitions of the account's quota, and it
    times out after five minutes. Then the attempt goes on without it, and counts as a failure of the map. These are
    bounded by number, not by a share, which would grow with the replay.

    Attributes
    ----------
    state_machine
        Takes a `ReplayInput`.
    log_group
        What the executions did, without their data.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        platform: FunctionPlatform,
        workflow: ProcessingWorkflow,
        buckets: DicomBuckets,
        ledger: Ledger,
        zone: Zone,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config = platform.config
        function = PipelineFunction(
            self,
            platform=platform,
            name=Function.REPLAY,
            zone=zone,
            model=ReplayVariables,
            variables=workflow.starting_variables,
        )
        workflow.allow_starting(function)
        ledger.allow(function.role, "GetItem", "UpdateItem")
        name = f"{config.name}-replay"
        self.log_group = log_group(self, "Logs", name=f"/aws/vendedlogs/states/{name}", config=config, zone=zone)
        each = sfn.DistributedMap(
            self,
            ReplayState.REPLAY_OBJECTS,
            item_reader=sfn.S3ObjectsItemReader(bucket=buckets.raw, prefix=sfn.JsonPath.string_at("$.prefix")),
            item_selector={
                "bucket": buckets.raw.bucket_name,
                "key": sfn.JsonPath.string_at("$$.Map.Item.Value.Key"),
                "filter": sfn.JsonPath.object_at("$.filter"),
            },
            max_concurrency=config.replay_concurrency,
            tolerated_failure_count=config.replay_tolerated_failures,
            map_execution_type=sfn.StateMachineType.EXPRESS,
            # The emulator knows no ResultWriter, without which a map doesn't tell what its run is called.
            result_path=sfn.JsonPath.DISCARD if config.runs_on_this_machine else RUN,
            result_writer_v2=None if config.runs_on_this_machine else _results(buckets.operations),
        )
        each.item_processor(self._replay_object(function))
        self.state_machine = sfn.StateMachine(
            self,
            "StateMachine",
            state_machine_name=name,
            definition_body=sfn.DefinitionBody.from_chainable(each.next(self._end(name))),
            timeout=TIMEOUT,
            tracing_enabled=config.xray,
            encryption_configuration=zone.workflow_encryption(name),
            logs=sfn.LogOptions(destination=self.log_group, level=sfn.LogLevel.ALL, include_execution_data=False),
        )
        # Results are written in parts, and completing an upload decrypts them.
        zone.allow(self.state_machine, "Decrypt", "GenerateDataKey", via="s3")

    def _end(self, name: str) -> sfn.IChainable:
        """Succeed where every key was replayed. A map itself succeeds with as many failures as are tolerated."""
        replayed = sfn.Succeed(self, ReplayState.REPLAYED)
        if self._config.runs_on_this_machine:
            return replayed
        run = Stack.of(self).format_arn(
            service="states",
            resource="mapRun",
            resource_name=f"{name}/*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        counting = tasks.CallAwsService(
            self,
            ReplayState.COUNT_KEYS,
            service="sfn",
            action="describeMapRun",
            parameters={"MapRunArn": sfn.JsonPath.string_at(f"{RUN}.MapRunArn")},
            iam_action="states:DescribeMapRun",
            iam_resources=[run],
            result_selector={count: sfn.JsonPath.number_at(f"$.ItemCounts.{count}") for count in UNREPLAYED},
            result_path=COUNTS,
            task_timeout=sfn.Timeout.duration(Duration.seconds(SERVICE_TIMEOUT_SECONDS)),
        )
        counting.add_retry(interval=Duration.seconds(2), backoff_rate=2, max_attempts=8)
        incomplete = sfn.Fail(
            self,
            ReplayState.INCOMPLETE,
            error=ReplayState.INCOMPLETE,
            cause=f"Keys are left: see {RESULTS_PREFIX} in the operations bucket, and start with the same input again.",
        )
        some = sfn.Condition.or_(*(sfn.Condition.number_greater_than(f"{COUNTS}.{count}", 0) for count in UNREPLAYED))
        return counting.next(sfn.Choice(self, ReplayState.ALL_REPLAYED).when(some, incomplete).otherwise(replayed))

    def _replay_object(self, function: PipelineFunction) -> sfn.IChainable:
        task = invoke(
            self,
            ReplayState.REPLAY_OBJECT,
            function,
            config=self._config,
            payload_response_only=True,
            result_path=ANSWER,
        )
        done = sfn.Succeed(self, ReplayState.OBJECT_REPLAYED, output_path=ANSWER)
        wait = sfn.Wait(self, ReplayState.AWAIT_VERDICT, time=sfn.WaitTime.duration(Duration.seconds(LOOK_SECONDS)))
        in_work = sfn.Choice(self, ReplayState.IN_WORK)
        in_work.when(sfn.Condition.is_null(f"{ANSWER}.in_work"), done).otherwise(wait.next(task))
        return task.next(in_work)


def _results(bucket: s3.Bucket) -> sfn.ResultWriterV2:
    return sfn.ResultWriterV2(bucket=bucket, prefix=RESULTS_PREFIX)
