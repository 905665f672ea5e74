"""Alarms, the topic they notify, and the dashboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import Aws, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from imaging_pipeline.building_blocks.alarms import (
    PERIOD,
    add_alarm,
    alarm_on_denied_requests,
    alarm_topic,
    request_metric,
)
from imaging_pipeline.building_blocks.function import FunctionPlatform
from imaging_pipeline.building_blocks.zones import Zone
from imaging_pipeline.dicom_buckets import DicomBuckets
from imaging_pipeline.phi.intake import Intake
from imaging_pipeline.research.announcements import Announcements
from imaging_pipeline.stages.config import StageConfig
from imaging_pipeline.stages.rules import GOV_CLOUD
from runtime.contract.names import METRIC_NAMESPACE, STAGE_DIMENSION, Function, Metric, Output

HOUR = Duration.hours(1)
DAY = Duration.days(1)
STORAGE_CLASSES = ("StandardStorage", "StandardIAStorage", "GlacierStorage")


class Monitoring(Construct):
    """What tells an operator that something is wrong, and what shows how the pipeline does.

    Attributes
    ----------
    topic
        Every alarm notifies it, and every execution that failed where the stage wants that.
    dashboard_url
        The dashboard in the console.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StageConfig,
        buckets: DicomBuckets,
        platform: FunctionPlatform,
        state_machine: sfn.StateMachine,
        replay: sfn.StateMachine,
        intake: Intake,
        announcements: Announcements,
        zone: Zone,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self._buckets = {"Raw": buckets.raw, "Processed": buckets.processed}
        self._functions = {name: platform.functions[name].function for name in Function}
        self._state_machine = state_machine
        self._replay = replay
        self._intake = intake
        self.topic = alarm_topic(
            self,
            config=config,
            dead_letters=announcements.dead_letters,
            zone=zone,
            publishers=("cloudwatch", "events") if config.failure_notifications else ("cloudwatch",),
        )
        if config.failure_notifications:
            self._notify_of_failures(announcements.dead_letters)
        self._alarm_on_executions()
        self._alarm_on_functions()
        self._alarm_on_quotas()
        self._alarm_on_intake()
        self._alarm_on_dead_letters(
            {
                "Intake": intake.dead_letters,
                "Schedule": platform.schedule_dead_letters,
                "Notification": announcements.dead_letters,
            }
        )
        alarm_on_denied_requests(self, self._buckets, topic=self.topic, above=config.alarms.denied_requests)
        self._dashboard()
        gov_cloud = (config.region or "").startswith(GOV_CLOUD)
        console = "console.amazonaws-us-gov.com" if gov_cloud else f"{Aws.REGION}.console.aws.amazon.com"
        self.dashboard_url = f"https://{console}/cloudwatch/home?region={Aws.REGION}#dashboards/dashboard/{config.name}"

    @property
    def outputs(self) -> Mapping[Output, str]:
        """What a stage publishes of this."""
        return {
            Output.NOTIFICATION_TOPIC_ARN: self.topic.topic_arn,
            Output.DASHBOARD_URL: self.dashboard_url,
        }

    def _notify_of_failures(self, dead_letters: sqs.Queue) -> None:
        """Name each execution that failed, and not its input, which holds the key."""
        detail = {
            "stateMachineArn": [self._state_machine.state_machine_arn],
            "status": ["FAILED", "TIMED_OUT", "ABORTED"],
        }
        status, execution = (events.EventField.from_path(f"$.detail.{name}") for name in ("status", "executionArn"))
        events.Rule(
            self,
            "ExecutionFailed",
            rule_name=f"{self._config.name}-execution-failed",
            description="Tells the subscribers of every execution that ended without a verdict",
            event_pattern=events.EventPattern(
                source=["aws.states"], detail_type=["Step Functions Execution Status Change"], detail=detail
            ),
            targets=[
                targets.SnsTopic(
                    self.topic,
                    message=events.RuleTargetInput.from_text(f"{status}: {execution}"),
                    dead_letter_queue=dead_letters,
                )
            ],
        )

    def _alarm(self, name: str, metric: cloudwatch.IMetric, *, above: float, meaning: str) -> None:
        add_alarm(self, name, topic=self.topic, metric=metric, above=above, meaning=meaning)

    def _alarm_on_executions(self) -> None:
        thresholds = self._config.alarms
        self._alarm(
            "ExecutionsFailed",
            self._state_machine.metric_failed(period=PERIOD, statistic="Sum"),
            above=thresholds.failed_executions,
            meaning="Executions failed: objects were neither released nor quarantined. Look at the failed executions.",
        )
        self._alarm(
            "PipelineFailures",
            self._count(Metric.FAILURE, PERIOD),
            above=thresholds.failed_executions,
            meaning="Executions reached ErrorHandler: a step failed after its retries.",
        )
        self._alarm(
            "ExecutionsTimedOut",
            self._state_machine.metric_timed_out(period=PERIOD, statistic="Sum"),
            above=thresholds.timed_out_executions,
            meaning="Executions ran out of time before they had a verdict. Look for throttled functions.",
        )
        self._alarm(
            "ReplaysFailed",
            self._replay.metric_failed(period=PERIOD, statistic="Sum"),
            above=thresholds.failed_replays,
            meaning="A replay did not get to every object. Start one with the same input: it does what is left.",
        )

    def _alarm_on_functions(self) -> None:
        for name, function in self._functions.items():
            if not self._config.runs_on_this_machine:  # the emulator refuses alarms on metric math
                self._alarm_on_error_rate(name, function)
            self._alarm(
                f"{name.capitalize()}Throttles",
                function.metric_throttles(period=PERIOD, statistic="Sum"),
                above=self._config.alarms.throttles,
                meaning=f"Calls of the {name} function wait for free concurrency; executions retry, and get slower.",
            )

    def _alarm_on_error_rate(self, name: Function, function: lambda_.Function) -> None:
        self._alarm(
            f"{name.capitalize()}ErrorRate",
            cloudwatch.MathExpression(
                expression="100 * errors / invocations",
                using_metrics={
                    "errors": function.metric_errors(period=PERIOD, statistic="Sum"),
                    "invocations": function.metric_invocations(period=PERIOD, statistic="Sum"),
                },
                label="Errors, percent of invocations",
                period=PERIOD,
            ),
            above=self._config.alarms.error_rate_percent,
            meaning=f"The {name} function fails too often. Its log group has the reasons.",
        )

    def _alarm_on_quotas(self) -> None:
        """Watch what the account's stages and others share."""
        transitions, starts = _throttled_by_step_functions()
        self._alarm(
            "ThrottledTransitions",
            transitions,
            above=self._config.alarms.throttled_transitions,
            meaning="The account is out of state transitions: all executions get slower. Ask for a higher quota.",
        )
        self._alarm(
            "ThrottledStarts",
            starts,
            above=self._config.alarms.throttled_starts,
            meaning="The account starts more executions than it may. What is refused is started a little later.",
        )
        if not self._config.runs_on_this_machine:  # the emulator refuses alarms on metric math
            self._alarm(
                "Concurrency",
                _claimed_concurrency(),
                above=self._config.alarms.concurrency_percent,
                meaning="The account is about to be out of concurrent functions. Ask for a higher quota.",
            )

    def _alarm_on_intake(self) -> None:
        self._alarm(
            "IntakeQueueAge",
            self._intake.queue.metric_approximate_age_of_oldest_message(period=PERIOD, statistic="Maximum"),
            above=self._config.alarms.queue_age_seconds,
            meaning="Objects wait too long for the dispatcher. Look for its errors, or raise dispatcher_concurrency.",
        )
        self._alarm(
            "Unaccounted",
            self._count(Metric.UNACCOUNTED, PERIOD, statistic="Maximum"),
            above=self._config.alarms.unaccounted,
            meaning="Reconciliation found objects without a verdict, and started them. It should find none next time.",
        )

    def _alarm_on_dead_letters(self, queues: Mapping[str, sqs.Queue]) -> None:
        for edge, queue in queues.items():
            self._alarm(
                f"{edge}DeadLetters",
                queue.metric_approximate_number_of_messages_visible(period=PERIOD, statistic="Maximum"),
                above=self._config.alarms.dead_letters,
                meaning=f"{edge} could not deliver messages. Mend the reason, then replay them.",
            )

    def _count(self, metric: Metric, period: Duration, *, statistic: str = "Sum") -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace=METRIC_NAMESPACE,
            metric_name=metric,
            dimensions_map={STAGE_DIMENSION: self._config.stage},
            statistic=statistic,
            period=period,
        )

    def _dashboard(self) -> None:
        dashboard = cloudwatch.Dashboard(
            self, "Dashboard", dashboard_name=self._config.name, default_interval=Duration.days(7)
        )
        dashboard.add_widgets(*self._verdict_widgets())
        dashboard.add_widgets(*self._intake_widgets())
        dashboard.add_widgets(*self._latency_widgets())
        dashboard.add_widgets(
            _graph("Account: throttled by Step Functions", list(_throttled_by_step_functions()), width=12),
            _graph("Account: concurrent functions", [_claimed_concurrency()], width=12),
        )
        dashboard.add_widgets(*self._cost_widgets())

    def _verdict_widgets(self) -> list[cloudwatch.IWidget]:
        failures = [
            self._count(Metric.FAILURE, HOUR),
            self._state_machine.metric_failed(period=HOUR, statistic="Sum", label="Failed executions"),
            self._state_machine.metric_timed_out(period=HOUR, statistic="Sum", label="Timed-out executions"),
        ]
        return [
            _graph("Throughput: files an hour", [self._count(Metric.SUCCESS, HOUR)]),
            _graph("Quarantined, an hour", [self._count(Metric.QUARANTINE, HOUR)]),
            _graph("Failures, an hour", failures),
        ]

    def _intake_widgets(self) -> list[cloudwatch.IWidget]:
        queue = self._intake.queue
        waiting = [
            queue.metric_approximate_number_of_messages_visible(period=PERIOD, statistic="Maximum", label="waiting"),
            queue.metric_approximate_number_of_messages_not_visible(
                period=PERIOD, statistic="Maximum", label="with the dispatcher"
            ),
        ]
        without_result = [self._count(metric, HOUR) for metric in (Metric.DUPLICATE, Metric.IGNORED)]
        unaccounted = self._count(Metric.UNACCOUNTED, PERIOD, statistic="Maximum")
        return [
            _graph("Intake: objects in the queue", waiting),
            _graph("Duplicates, and objects that are not accepted, an hour", without_result),
            _graph("Unaccounted objects", [unaccounted]),
        ]

    def _latency_widgets(self) -> list[cloudwatch.IWidget]:
        end_to_end = [
            self._state_machine.metric_time(period=PERIOD, statistic=statistic, label=statistic)
            for statistic in ("p50", "p95")
        ]
        steps = [
            function.metric_duration(period=PERIOD, statistic=statistic, label=f"{name} {statistic}")
            for name, function in self._functions.items()
            for statistic in ("p50", "p95")
        ]
        return [
            _graph("Latency end to end, ms", end_to_end),
            _graph("Latency per step, ms", steps, width=16),
        ]

    def _cost_widgets(self) -> list[cloudwatch.IWidget]:
        transitions = cloudwatch.Metric(
            namespace="AWS/States",
            metric_name="ConsumedCapacity",
            dimensions_map={"ServiceMetric": "StateTransition"},
            statistic="Sum",
            period=HOUR,
            label="of all state machines in the account",
        )
        requests = [request_metric(bucket, "AllRequests", HOUR, label=zone) for zone, bucket in self._buckets.items()]
        storage = [
            cloudwatch.Metric(
                namespace="AWS/S3",
                metric_name="BucketSizeBytes",
                dimensions_map={"BucketName": bucket.bucket_name, "StorageType": storage_class},
                statistic="Average",
                period=DAY,
                label=f"{zone} {storage_class}",
            )
            for zone, bucket in self._buckets.items()
            for storage_class in STORAGE_CLASSES
        ]
        compute = [self._gigabyte_seconds(name, function) for name, function in self._functions.items()]
        return [
            _graph("Cost: Lambda GB-seconds, an hour", compute, width=6),
            _graph("Cost: state transitions, an hour", [transitions], width=6),
            _graph("Cost: S3 requests, an hour", requests, width=6),
            _graph("Cost: S3 bytes stored", storage, width=6),
        ]

    def _gigabyte_seconds(self, name: Function, function: lambda_.Function) -> cloudwatch.IMetric:
        gigabytes = self._config.functions[name].memory_mb / 1024
        milliseconds = f"{name}_ms"
        return cloudwatch.MathExpression(
            expression=f"{milliseconds} / 1000 * {gigabytes}",
            using_metrics={milliseconds: function.metric_duration(period=HOUR, statistic="Sum")},
            label=name,
            period=HOUR,
        )


def _throttled_by_step_functions() -> tuple[cloudwatch.Metric, cloudwatch.Metric]:
    """Return the state transitions, and the starts of executions, that the account was refused."""
    starts = cloudwatch.Metric(
        namespace="AWS/States",
        metric_name="ThrottledEvents",
        dimensions_map={"APIName": "StartExecution"},
        statistic="Sum",
        period=PERIOD,
    )
    return sfn.StateTransitionMetric.metric_throttled_events(statistic="Sum", period=PERIOD), starts


def _claimed_concurrency() -> cloudwatch.IMetric:
    """Return how much of the account's quota is running or reserved, in percent; the quota is one of those running."""
    claimed, running = (
        cloudwatch.Metric(namespace="AWS/Lambda", metric_name=name, statistic="Maximum", period=PERIOD)
        for name in ("ClaimedAccountConcurrency", "ConcurrentExecutions")
    )
    return cloudwatch.MathExpression(
        expression="100 * claimed / SERVICE_QUOTA(running)",
        using_metrics={"claimed": claimed, "running": running},
        label="Running or reserved, percent of the account's quota",
        period=PERIOD,
    )


def _graph(title: str, metrics: Sequence[cloudwatch.IMetric], *, width: int = 8) -> cloudwatch.IWidget:
    return cloudwatch.GraphWidget(title=title, left=metrics, width=width, height=6)
