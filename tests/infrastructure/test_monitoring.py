"""Alarms, the topic and the dashboard."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.contract.names import Function
from tests.infrastructure.conftest import StageTemplate, joined

ALARMS = {
    "ExecutionsFailed": ("ExecutionsFailed", "Sum", 0),
    "ExecutionsTimedOut": ("ExecutionsTimedOut", "Sum", 0),
    "PipelineFailures": ("PipelineFailure", "Sum", 0),
    "ReplaysFailed": ("ExecutionsFailed", "Sum", 0),
    **{f"{name.capitalize()}Throttles": ("Throttles", "Sum", 0) for name in Function},
    "ThrottledTransitions": ("ThrottledEvents", "Sum", 0),
    "ThrottledStarts": ("ThrottledEvents", "Sum", 0),
    "IntakeDeadLetters": ("ApproximateNumberOfMessagesVisible", "Maximum", 0),
    "ScheduleDeadLetters": ("ApproximateNumberOfMessagesVisible", "Maximum", 0),
    "NotificationDeadLetters": ("ApproximateNumberOfMessagesVisible", "Maximum", 0),
    "IntakeQueueAge": ("ApproximateAgeOfOldestMessage", "Maximum", 3600),
    "Unaccounted": ("Unaccounted", "Maximum", 0),
    "RawBucketDeniedRequests": ("4xxErrors", "Sum", 0),
    "ProcessedBucketDeniedRequests": ("4xxErrors", "Sum", 0),
}
ERROR_RATES = tuple(f"{name.capitalize()}ErrorRate" for name in Function)


def alarms(stage: StageTemplate) -> dict[str, dict[str, Any]]:
    prefix = f"medical-imaging-pipeline-{stage.config.stage}-"
    found = [alarm["Properties"] for alarm in stage.resources("AWS::CloudWatch::Alarm").values()]
    return {alarm["AlarmName"].removeprefix(prefix): alarm for alarm in found}


def test_should_alarm_on_what_the_operator_must_know(every_stage: StageTemplate) -> None:
    # The emulator refuses alarms on metric math.
    on_metric_math = () if every_stage.config.stage == "local" else (*ERROR_RATES, "Concurrency")
    assert set(alarms(every_stage)) == {*ALARMS, *on_metric_math}
    for name, (metric, statistic, threshold) in ALARMS.items():
        alarm = alarms(every_stage)[name]
        assert (alarm["MetricName"], alarm["Statistic"], alarm["Threshold"]) == (metric, statistic, threshold)
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold"


@pytest.mark.parametrize("name", ERROR_RATES)
def test_should_alarm_when_over_five_percent_of_invocations_err(prod: StageTemplate, name: str) -> None:
    alarm = alarms(prod)[name]
    assert alarm["Threshold"] == 5
    assert "100 * errors / invocations" in [metric.get("Expression") for metric in alarm["Metrics"]]


def test_should_alarm_on_what_the_account_was_refused_by_step_functions(every_stage: StageTemplate) -> None:
    expected = {
        "ThrottledTransitions": {"Name": "ServiceMetric", "Value": "StateTransition"},
        "ThrottledStarts": {"Name": "APIName", "Value": "StartExecution"},
    }
    for name, dimension in expected.items():
        alarm = alarms(every_stage)[name]
        assert (alarm["Namespace"], alarm["Dimensions"]) == ("AWS/States", [dimension])


def test_should_alarm_when_four_fifths_of_the_accounts_concurrency_are_taken(prod: StageTemplate) -> None:
    alarm = alarms(prod)["Concurrency"]
    assert alarm["Threshold"] == 80
    (expression,) = [metric for metric in alarm["Metrics"] if "Expression" in metric]
    assert expression["Expression"] == "100 * claimed / SERVICE_QUOTA(running)"
    metrics = {each["Id"]: each["MetricStat"] for each in alarm["Metrics"] if "MetricStat" in each}
    assert {name: stat["Metric"] for name, stat in metrics.items()} == {
        "claimed": {"MetricName": "ClaimedAccountConcurrency", "Namespace": "AWS/Lambda"},
        "running": {"MetricName": "ConcurrentExecutions", "Namespace": "AWS/Lambda"},
    }, "of the whole account: without dimensions"
    assert {stat["Stat"] for stat in metrics.values()} == {"Maximum"}


def test_should_notify_the_topic_of_every_alarm(every_stage: StageTemplate) -> None:
    (topic,) = [name for name in every_stage.resources("AWS::SNS::Topic") if "Notifications" in name]
    for alarm in alarms(every_stage).values():
        assert alarm["AlarmActions"] == [{"Ref": topic}]
        assert alarm["TreatMissingData"] == "notBreaching"


def test_should_let_alarms_of_this_account_publish_and_demand_tls(every_stage: StageTemplate) -> None:
    denial, grant = every_stage.one("AWS::SNS::TopicPolicy", "Notifications")["PolicyDocument"]["Statement"]
    assert (denial["Effect"], denial["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    assert grant["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert "aws:SourceAccount" in grant["Condition"]["StringEquals"]


def test_should_subscribe_the_stages_addresses() -> None:
    stage = StageTemplate("dev", alert_emails="a@example.org,b@example.org")
    subscriptions = [s["Properties"] for s in stage.resources("AWS::SNS::Subscription").values()]
    assert [(s["Protocol"], s["Endpoint"]) for s in subscriptions] == [
        ("email", "a@example.org"),
        ("email", "b@example.org"),
    ]


def test_should_take_thresholds_from_the_stage() -> None:
    thresholds = {
        "failed_executions": 1,
        "timed_out_executions": 2,
        "error_rate_percent": 3,
        "throttles": 4,
        "dead_letters": 5,
        "denied_requests": 6,
        "queue_age_seconds": 7,
        "unaccounted": 8,
        "failed_replays": 9,
        "throttled_transitions": 10,
        "throttled_starts": 11,
        "concurrency_percent": 12,
    }
    found = {name: alarm["Threshold"] for name, alarm in alarms(StageTemplate("dev", alarms=thresholds)).items()}
    assert found == {
        "ExecutionsFailed": 1,
        "PipelineFailures": 1,
        "ExecutionsTimedOut": 2,
        "ReplaysFailed": 9,
        **dict.fromkeys(ERROR_RATES, 3),
        **{f"{name.capitalize()}Throttles": 4 for name in Function},
        "ThrottledTransitions": 10,
        "ThrottledStarts": 11,
        "Concurrency": 12,
        "IntakeDeadLetters": 5,
        "ScheduleDeadLetters": 5,
        "NotificationDeadLetters": 5,
        "IntakeQueueAge": 7,
        "Unaccounted": 8,
        "RawBucketDeniedRequests": 6,
        "ProcessedBucketDeniedRequests": 6,
    }


def test_should_read_denied_requests_from_a_metric_that_the_bucket_publishes(every_stage: StageTemplate) -> None:
    for zone in ("Raw", "Processed"):
        dimensions = {d["Name"]: d["Value"] for d in alarms(every_stage)[f"{zone}BucketDeniedRequests"]["Dimensions"]}
        bucket = every_stage.resources("AWS::S3::Bucket")[dimensions["BucketName"]["Ref"]]["Properties"]
        assert bucket["MetricsConfigurations"] == [{"Id": dimensions["FilterId"]}]


def test_should_have_an_alarm_on_every_dead_letter_queue(every_stage: StageTemplate) -> None:
    watched = {
        dimension["Value"]["Fn::GetAtt"][0]
        for alarm in alarms(every_stage).values()
        for dimension in alarm.get("Dimensions", [])
        if dimension["Name"] == "QueueName"
    }
    assert watched == set(every_stage.resources("AWS::SQS::Queue"))


def test_should_show_throughput_latency_verdicts_and_cost(every_stage: StageTemplate) -> None:
    dashboard = every_stage.one("AWS::CloudWatch::Dashboard")
    assert dashboard["DashboardName"] == f"medical-imaging-pipeline-{every_stage.config.stage}"
    widgets = {
        w["properties"]["title"]: w["properties"] for w in json.loads(joined(dashboard["DashboardBody"]))["widgets"]
    }
    assert set(widgets) == {
        "Throughput: files an hour",
        "Quarantined, an hour",
        "Failures, an hour",
        "Intake: objects in the queue",
        "Duplicates, and objects that are not accepted, an hour",
        "Unaccounted objects",
        "Latency end to end, ms",
        "Latency per step, ms",
        "Account: throttled by Step Functions",
        "Account: concurrent functions",
        "Cost: Lambda GB-seconds, an hour",
        "Cost: state transitions, an hour",
        "Cost: S3 requests, an hour",
        "Cost: S3 bytes stored",
    }
    end_to_end = [metric[-1]["stat"] for metric in widgets["Latency end to end, ms"]["metrics"]]
    assert end_to_end == ["p50", "p95"]
    assert len(widgets["Latency per step, ms"]["metrics"]) == 2 * len(Function)
    gigabyte_seconds = [
        m[0]["expression"] for m in widgets["Cost: Lambda GB-seconds, an hour"]["metrics"] if len(m) == 1
    ]
    assert gigabyte_seconds == [
        f"{name}_ms / 1000 * {every_stage.config.functions[name].memory_mb / 1024}" for name in Function
    ]
