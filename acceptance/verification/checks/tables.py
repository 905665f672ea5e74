"""Checks of how ledger and audit logs are kept: encryption, and recovery to a point in time."""

from __future__ import annotations

from typing import Final

import boto3

from acceptance.verification.check import Judgement, alike, check
from acceptance.verification.run import Run
from runtime.contract.names import Output

TABLES: Final = {
    Output.LEDGER_TABLE_NAME: "phi",
    Output.AUDIT_TABLE_NAME: "phi",
    Output.LINK_AUDIT_TABLE_NAME: "research",
}


@check("tables: encryption and key", emulator="ignores the encryption of tables")
def encryption_of_tables(run: Run) -> Judgement:
    """Look at the keys that encrypt ledger and audit logs."""
    dynamodb = boto3.client("dynamodb")
    wrong = []
    for table, zone in TABLES.items():
        found = dynamodb.describe_table(TableName=run.stage.output(table))["Table"].get("SSEDescription", {})
        key = run.key_arn(zone)
        ok = found.get("Status") == "ENABLED" and (key is None or found.get("KMSMasterKeyArn") == key)
        wrong += [] if ok else [f"{table}: {found.get('KMSMasterKeyArn', 'none')}"]
    return Judgement(
        "a key of the zone" if run.config.encryption == "kms" else "AWS's key", "; ".join(wrong) or "all 3", not wrong
    )


@check("tables: recovery to a point in time", emulator="ignores recovery to a point in time")
def recovery_of_tables(run: Run) -> Judgement:
    """Look whether the tables can be restored."""
    dynamodb = boto3.client("dynamodb")
    found = {}
    for table in TABLES:
        answer = dynamodb.describe_continuous_backups(TableName=run.stage.output(table))["ContinuousBackupsDescription"]
        recovery = answer.get("PointInTimeRecoveryDescription", {})
        found[table.value] = recovery.get("PointInTimeRecoveryStatus", "none")
    return alike("ENABLED", found)


CHECKS = (encryption_of_tables, recovery_of_tables)
