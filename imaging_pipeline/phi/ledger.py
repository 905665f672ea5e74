"""The ledger: what became of every version of every object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import aws_iam as iam
from constructs import Construct

from imaging_pipeline.building_blocks.table import table
from imaging_pipeline.building_blocks.zones import Zone
from imaging_pipeline.stages.config import StageConfig
from runtime.contract.ledger import (
    LEDGER_INDEXES,
    STUDY_ITEMS,
    TIME_CURSORS,
    LedgerAttribute,
    LedgerIndex,
    RowProjection,
)


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
        self._retention_days = config.ledger_retention_days or 0
        self.table = table(
            self,
            name="ledger",
            key=(LedgerAttribute.OBJECT_ID,),
            indexes=LEDGER_INDEXES,
            config=config,
            zone=zone,
            time_to_live_attribute=LedgerAttribute.EXPIRES_AT if config.ledger_retention_days else None,
        )

    @property
    def variables(self) -> Mapping[str, object]:
        """Environment variables of whoever reads or writes the ledger."""
        return {"LEDGER_TABLE": self.table.table_name}

    @property
    def receiving_variables(self) -> Mapping[str, object]:
        """Environment variables of whoever adds items that may expire."""
        return {**self.variables, "LEDGER_RETENTION_DAYS": self._retention_days}

    def allow(self, grantee: iam.IGrantable, *actions: str) -> None:
        """Allow actions on any item of the table."""
        self._allow(grantee, actions, [self.table.table_arn])

    def allow_query(self, grantee: iam.IGrantable, index: LedgerIndex) -> None:
        """Allow to read the rows of an index."""
        self._allow(grantee, ["Query"], [self._index_arn(index)])

    def allow_announcing(self, grantee: iam.IGrantable) -> None:
        """Allow to keep the items of studies and cursors, and to read objects' rows without coordinates.

        Who announces writes into the research zone, so no object's key may be read: not by naming its row, nor in an
        index by asking for more than `RowProjection`.
        """
        items = [f"{STUDY_ITEMS}*", f"{TIME_CURSORS}*"]
        self._allow(
            grantee,
            ["GetItem", "UpdateItem"],
            [self.table.table_arn],
            {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": items}},
        )
        self._allow(
            grantee,
            ["Query"],
            [self._index_arn(index) for index in (LedgerIndex.BY_VERDICT, LedgerIndex.BY_STUDY)],
            {
                "ForAllValues:StringEquals": {
                    "dynamodb:Attributes": [*RowProjection.model_fields, LedgerAttribute.VERDICT_SHARD]
                },
                "StringEquals": {"dynamodb:Select": "SPECIFIC_ATTRIBUTES"},
            },
        )

    def _allow(
        self,
        grantee: iam.IGrantable,
        actions: Sequence[str],
        resources: Sequence[str],
        conditions: Mapping[str, Any] | None = None,
    ) -> None:
        grantee.grant_principal.add_to_principal_policy(
            iam.PolicyStatement(
                actions=[f"dynamodb:{action}" for action in actions], resources=resources, conditions=conditions
            )
        )
        # Of KMS DynamoDB asks for the table's key, which encrypts the items; grants of its own do the rest.
        self._zone.allow(grantee, "Decrypt", via="dynamodb")

    def _index_arn(self, index: LedgerIndex) -> str:
        return f"{self.table.table_arn}/index/{index}"
