"""Schedules: the checks that nothing but time starts."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from imaging_pipeline.stages.config import StageConfig
from runtime.contract.names import Function

LATEST_MINUTES = 5
"""How late a tick may be; a later one is left to the next, which does the same work."""


class Schedules(Construct):
    """One rule for each scheduled function, named as the function is.

    The event that arrives, and that waits among the dead letters, names its rule and thereby the function. Only a tick
    that the function was never given becomes a dead letter, since nothing else tells of it. Of what it failed on its
    alarms tell, once, where a lasting fault would leave a dead letter a tick.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StageConfig,
        functions: Mapping[Function, lambda_.Function],
        dead_letters: sqs.Queue,
    ) -> None:
        super().__init__(scope, construct_id)
        for name, period, meaning in (
            (Function.RECONCILIATION, config.reconciliation_minutes, "Compares raw objects, ledger and results"),
            (Function.COMPLETENESS, 1, "Announces studies that are complete"),
        ):
            latest = Duration.minutes(min(period, LATEST_MINUTES))
            functions[name].configure_async_invoke(retry_attempts=0, max_event_age=latest)
            events.Rule(
                self,
                name.capitalize(),
                rule_name=f"{config.name}-{name}",
                description=meaning,
                schedule=events.Schedule.rate(Duration.minutes(period)),
                targets=[
                    targets.LambdaFunction(
                        functions[name],
                        dead_letter_queue=dead_letters,
                        max_event_age=latest,
                        retry_attempts=2,
                    )
                ],
            )
