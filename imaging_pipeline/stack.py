"""The stack: wires the constructs and publishes what others need to know of them."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import CfnOutput, Environment, Fn, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from imaging_pipeline.building_blocks.function import FunctionPlatform
from imaging_pipeline.building_blocks.network import Network
from imaging_pipeline.building_blocks.zones import Zones
from imaging_pipeline.dicom_buckets import DicomBuckets
from imaging_pipeline.operations.monitoring import Monitoring
from imaging_pipeline.operations.replication import Replication
from imaging_pipeline.operations.trail import Trail
from imaging_pipeline.phi.audit import AuditTable
from imaging_pipeline.phi.intake import Intake
from imaging_pipeline.phi.ledger import Ledger
from imaging_pipeline.phi.processing_workflow import ProcessingWorkflow
from imaging_pipeline.phi.pseudonym_key import PseudonymKey
from imaging_pipeline.phi.reconciliation import Reconciliation
from imaging_pipeline.phi.replay_workflow import ReplayWorkflow
from imaging_pipeline.replica_stack import ReplicaStack
from imaging_pipeline.research.announcements import Announcements
from imaging_pipeline.research.completeness import Completeness
from imaging_pipeline.research.delivery import Delivery, allow_reading
from imaging_pipeline.stages.config import StageConfig
from runtime.contract.names import Output


class ImagingPipelineStack(Stack):
    """One stage of the pipeline.

    Attributes
    ----------
    replica
        The stack beside it in the stage's replica region, which is deployed first; None where there is none.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig, env: Environment) -> None:
        super().__init__(
            scope,
            construct_id,
            env=env,
            # Read from the other stack's outputs when this one is deployed (Fn::GetStackOutput), by no custom resource.
            cross_region_references=config.replica_region is not None,
            description=f"Medical Imaging Pipeline, stage {config.stage}",
            termination_protection=config.termination_protection,
            tags=config.tags,
        )
        self._config = config
        self.replica = ReplicaStack(scope, f"{construct_id}-replica", config=config) if config.replica_region else None
        zones = Zones(self, "Zones", config=config)
        network = None
        if config.vpc_cidr:
            network = Network(self, "Network", config=config, cidr=config.vpc_cidr, zone=zones.phi)
        buckets = DicomBuckets(self, "Buckets", config=config, zones=zones)
        ledger = Ledger(self, "Ledger", config=config, zone=zones.phi)
        audit = AuditTable(self, "Audit", config=config, name="audit", zone=zones.phi)
        # Of its own, since nobody who gives out links may reach the PHI zone.
        link_audit = AuditTable(self, "LinkAudit", config=config, name="link-audit", zone=zones.research)
        announcements = Announcements(self, "Announcements", config=config, zones=zones)
        platform = FunctionPlatform(self, "Functions", config=config, zone=zones.phi, network=network)
        workflow = ProcessingWorkflow(
            self,
            "Workflow",
            platform=platform,
            buckets=buckets,
            ledger=ledger,
            audit=audit,
            bus=announcements.bus,
            pseudonym_key=PseudonymKey(
                self,
                "PseudonymKey",
                config=config,
                zone=zones.phi,
                replica=self.replica.zones.phi if self.replica else None,
            ),
            zones=zones,
        )
        replay = ReplayWorkflow(
            self,
            "Replay",
            platform=platform,
            workflow=workflow,
            buckets=buckets,
            ledger=ledger,
            zone=zones.phi,
        )
        intake = Intake(
            self,
            "Intake",
            platform=platform,
            workflow=workflow,
            buckets=buckets,
            ledger=ledger,
            audit=audit,
            zone=zones.phi,
        )
        Reconciliation(
            self,
            "Reconciliation",
            platform=platform,
            workflow=workflow,
            buckets=buckets,
            ledger=ledger,
            zone=zones.phi,
        )
        Completeness(
            self,
            "Completeness",
            platform=platform,
            processed_bucket=buckets.processed,
            ledger=ledger,
            bus=announcements.bus,
            zones=zones,
        )
        monitoring = Monitoring(
            self,
            "Monitoring",
            config=config,
            buckets=buckets,
            platform=platform,
            state_machine=workflow.state_machine,
            replay=replay.state_machine,
            intake=intake,
            announcements=announcements,
            zone=zones.phi,
        )
        readers = [workflow.steps.deidentification.role]
        if self.replica:
            readers.append(self._replicate(self.replica, buckets=buckets, zones=zones, topic=monitoring.topic))
        if config.trail_retention_days:
            Trail(
                self,
                "Trail",
                config=config,
                retention_days=config.trail_retention_days,
                buckets=buckets,
                replicas=[self.replica.raw, self.replica.processed] if self.replica else [],
                zone=zones.phi,
            )
        delivery = Delivery(
            self,
            "Delivery",
            config=config,
            processed_bucket=buckets.processed,
            zone=zones.research,
            audit=link_audit,
            readers=readers,
        )
        if self.replica and delivery.role:
            allow_reading(delivery.role, self.replica.processed, self.replica.zones.research)
        if network:
            network.admit(function.role for function in platform.functions.values())
        if config.permissions_boundary:
            self._bound_every_role(config.permissions_boundary)
        for construct in (buckets, platform, workflow, intake, announcements, monitoring):
            self._publish(construct.outputs)
        self._publish(
            {
                Output.LEDGER_TABLE_NAME: ledger.table.table_name,
                Output.AUDIT_TABLE_NAME: audit.table.table_name,
                Output.LINK_AUDIT_TABLE_NAME: link_audit.table.table_name,
                Output.REPLAY_STATE_MACHINE_ARN: replay.state_machine.state_machine_arn,
            }
        )

    def _replicate(self, replica: ReplicaStack, *, buckets: DicomBuckets, zones: Zones, topic: sns.Topic) -> iam.Role:
        """Replicate each zone by itself; return the role that reads results for it."""
        _, reading_results = (
            Replication(
                self,
                f"{name}Replication",
                config=self._config,
                source=source,
                source_zone=source_zone,
                replica=copy,
                replica_zone=replica_zone,
                topic=topic,
            ).role
            for name, source, source_zone, copy, replica_zone in (
                ("Raw", buckets.raw, zones.phi, replica.raw, replica.zones.phi),
                ("Processed", buckets.processed, zones.research, replica.processed, replica.zones.research),
            )
        )
        return reading_results

    @property
    def availability_zones(self) -> list[str]:
        """The zones that the stage names, or that CloudFormation finds: CDK would ask AWS while it synthesizes."""
        zones = self._config.vpc_availability_zones
        return [Fn.select(index, Fn.get_azs()) for index in range(zones)] if isinstance(zones, int) else list(zones)

    def _bound_every_role(self, policy: str) -> None:
        from_managed_policy = (
            iam.ManagedPolicy.from_managed_policy_arn
            if policy.startswith("arn:")
            else iam.ManagedPolicy.from_managed_policy_name
        )
        iam.PermissionsBoundary.of(self).apply(from_managed_policy(self, "PermissionsBoundary", policy))

    def _publish(self, values: Mapping[Output, str]) -> None:
        """Write each value as a stack output and as an SSM parameter."""
        for output, value in values.items():
            CfnOutput(self, output, value=value)
            name = output.parameter(self._config.stage)
            ssm.StringParameter(self, f"{output}Parameter", parameter_name=name, string_value=value)
