"""The audit tables, one for each zone: records are added, and nobody changes or removes one."""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from imaging_pipeline.building_blocks.table import table
from imaging_pipeline.building_blocks.zones import Zone
from imaging_pipeline.stages.config import StageConfig
from runtime.contract.audit import AUDIT_INDEXES

# All that overwrites, changes or removes an item. What is left to writers is PartiQL's INSERT, which does neither.
FORBIDDEN = (
    *("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "PartiQLUpdate", "PartiQLDelete"),
    "UpdateTimeToLive",
)


class AuditTable(Construct):
    """A table of `AuditRecord`, by subject and record id.

    Attributes
    ----------
    table
        The table.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig, name: str, zone: Zone) -> None:
        super().__init__(scope, construct_id)
        self._zone = zone
        self.table = table(
            self,
            name=name,
            key=("subject", "record_id"),
            indexes=AUDIT_INDEXES,
            config=config,
            zone=zone,
            # The emulator takes none.
            resource_policy=None if config.runs_on_this_machine else _append_only(self, f"{config.name}-{name}"),
        )

    def allow_recording(self, grantee: iam.IGrantable) -> None:
        """Allow to add records, which is no right to read, change or remove one, with what the table's key demands."""
        iam.Grant.add_to_principal(
            grantee=grantee, actions=["dynamodb:PartiQLInsert"], resource_arns=[self.table.table_arn]
        )
        self._zone.allow(grantee, "Decrypt", via="dynamodb")


def _append_only(scope: Construct, table_name: str) -> iam.PolicyDocument:
    """Deny everybody, administrators and the account's root too, what would change or remove a record."""
    # By name: the table's own ARN would make the table depend on itself.
    table_arn = Stack.of(scope).format_arn(service="dynamodb", resource="table", resource_name=table_name)
    statement = iam.PolicyStatement(
        sid="AppendOnly",
        effect=iam.Effect.DENY,
        principals=[iam.AnyPrincipal()],
        actions=[f"dynamodb:{action}" for action in FORBIDDEN],
        resources=[table_arn],
    )
    return iam.PolicyDocument(statements=[statement])
