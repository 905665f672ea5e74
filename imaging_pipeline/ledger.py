"""The ledger: what became of every version of every object."""

from __future__ import annotations

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

from imaging_pipeline.stages import StageConfig
from imaging_pipeline.zones import Zone
from runtime.contract import LedgerAttribute, LedgerIndex


class Ledger(Construct):
    """The ledger's table, which holds object keys and therefore belongs to the PHI zone.

    Attributes
    ----------
    table
        One item for each object version, SOP instance and study, by object id.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig, zone: Zone) -> None:
        super().__init__(scope, construct_id)
        self._zone = zone
        self.table = dynamodb.Table(
            self,
            "Table",
            table_name=f"{config.name}-ledger",
            partition_key=_text(LedgerAttribute.OBJECT_ID),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED if zone.key else dynamodb.TableEncryption.AWS_MANAGED,
            encryption_key=zone.key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=config.termination_protection,
            removal_policy=config.removal_policy,
        )
        for index, attribute in (
            (LedgerIndex.BY_STATUS, LedgerAttribute.STATUS),
            (LedgerIndex.BY_STUDY, LedgerAttribute.STUDY_ID),
        ):
            self.table.add_global_secondary_index(
                index_name=index, partition_key=_text(attribute), sort_key=_text(LedgerAttribute.UPDATED_AT)
            )

    def allow(self, grantee: iam.IGrantable, *actions: str, indexes: bool = False) -> None:
        """Allow actions on the table, and on its indexes where asked, with what its key demands."""
        table = self.table.table_arn
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=[f"dynamodb:{action}" for action in actions],
            resource_arns=[table, f"{table}/index/*"] if indexes else [table],
        )
        # Of KMS DynamoDB asks for the table's key, which encrypts the items; grants of its own do the rest.
        self._zone.allow(grantee, "Decrypt", via="dynamodb")


def _text(attribute: LedgerAttribute) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=attribute, type=dynamodb.AttributeType.STRING)
