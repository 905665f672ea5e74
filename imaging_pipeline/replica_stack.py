"""The replica stack: what of a stage outlives the stage's region."""

from __future__ import annotations

from aws_cdk import CfnOutput, Environment, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_s3 as s3
from constructs import Construct

from imaging_pipeline.building_blocks.alarms import PERIOD, add_alarm, alarm_on_denied_requests, alarm_topic
from imaging_pipeline.building_blocks.messaging import dead_letter_queue
from imaging_pipeline.building_blocks.zones import Zones
from imaging_pipeline.dicom_buckets import log_bucket, processed_bucket, raw_bucket
from imaging_pipeline.research.delivery import restrict_reading
from imaging_pipeline.stages.config import StageConfig


class ReplicaStack(Stack):
    """Replicas of the raw and the processed bucket, with a key a zone as there, and the alarm on their lag.

    Attributes
    ----------
    raw, processed
        The buckets that S3 replicates to. They tell nobody of their objects, so nothing is processed twice.
    zones
        The zones in this region, each with a key of its own where the stage has them.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig) -> None:
        super().__init__(
            scope,
            construct_id,
            env=Environment(account=config.account, region=config.replica_region),
            cross_region_references=True,
            description=f"Medical Imaging Pipeline, stage {config.stage}: replicas of its data",
            termination_protection=config.termination_protection,
            tags=config.tags,
        )
        self._config = config
        logs = log_bucket(self, "Logs", config=config, expire_after_days=config.access_log_retention_days)
        self.zones = Zones(self, "Zones", config=config)
        self.raw = raw_bucket(self, config=config, zone=self.zones.phi, logs=logs)
        self.processed = processed_bucket(self, config=config, zone=self.zones.research, logs=logs)
        restrict_reading(self.processed, config=config, readers=[])
        replicas = {"Raw": self.raw, "Processed": self.processed}
        self._alarm(replicas)
        for zone, bucket in replicas.items():
            CfnOutput(self, f"{zone}ReplicaName", value=bucket.bucket_name)

    def _alarm(self, replicas: dict[str, s3.Bucket]) -> None:
        """Watch lag and refused requests from here: S3 publishes them here, and the source may be gone."""
        dead_letters = dead_letter_queue(self, "replica", config=self._config, zone=self.zones.phi, senders=("sns",))
        topic = alarm_topic(
            self, config=self._config, dead_letters=dead_letters, zone=self.zones.phi, publishers=("cloudwatch",)
        )
        alarm_on_denied_requests(self, replicas, topic=topic, above=self._config.alarms.denied_requests)
        CfnOutput(self, "DeadLettersUrl", value=dead_letters.queue_url)
        for zone, bucket in replicas.items():
            add_alarm(
                self,
                f"{zone}ReplicationLag",
                topic=topic,
                # A query, since the source's name, which the metric also has, is known to the other stack only.
                metric=cloudwatch.MathExpression(
                    expression='SELECT MAX(ReplicationLatency) FROM "AWS/S3" WHERE DestinationBucket = \''  # noqa: S608
                    f"{bucket.bucket_name}'",
                    label="Seconds behind",
                    period=PERIOD,
                ),
                above=self._config.alarms.replication_lag_seconds,
                meaning=f"The replica of the {zone.lower()} bucket is behind: what it lacks is lost with the region.",
            )
        add_alarm(
            self,
            "ReplicaDeadLetters",
            topic=topic,
            metric=dead_letters.metric_approximate_number_of_messages_visible(period=PERIOD, statistic="Maximum"),
            above=self._config.alarms.dead_letters,
            meaning="An address could not be told of an alarm on the replicas.",
        )
