"""`make preflight` on a stage that is deployed, and on one that is not."""

from __future__ import annotations

import json

import boto3
import pytest

from acceptance.preflight.__main__ import main
from local.environment import ACCOUNT, REGION
from runtime.contract.names import PROJECT

OWN = ("--stage", "local", *("-c", f"account={ACCOUNT}", "-c", f"region={REGION}", "-c", "failure_notifications=true"))
BEYOND_THE_EMULATOR = {"S3 buckets", "state transitions", "StartExecution", "PutEvents", "DynamoDB writes"}
"""It has no Service Quotas."""


@pytest.fixture
def findings(isolated_boto3: boto3.Session, capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str]]:
    """Verdict and what was seen of the deployed stage, by check; the command ended well."""
    assert main([*OWN, "--json"]) == 0
    return by_check(capsys)


def by_check(capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {line["check"]: (line["verdict"], line["seen"]) for line in lines}


def test_should_find_the_deployed_stage_as_it_was_synthesized(findings: dict[str, tuple[str, str]]) -> None:
    assert findings[f"region {REGION}"] == ("ok", f"of account {ACCOUNT}")
    assert findings[f"bootstrap {REGION}"][0] == "ok"
    assert findings[f"stack {REGION}"] == ("ok", "CREATE_COMPLETE")
    assert findings[f"settings {REGION}"] == ("ok", "as synthesized")
    unseen = {check for check, (verdict, _) in findings.items() if verdict == "unseen"}
    assert unseen == BEYOND_THE_EMULATOR | {f"services {REGION}"}


def test_should_find_names_free_until_somebody_takes_one(
    isolated_boto3: boto3.Session, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--stage", "dev", "--json"]) == 0
    assert by_check(capsys)[f"names {REGION}"][0] == "ok"

    sqs = isolated_boto3.client("sqs")
    url = sqs.create_queue(QueueName=f"{PROJECT}-dev-intake")["QueueUrl"]
    try:
        assert main(["--stage", "dev", "--json"]) == 1
        assert by_check(capsys)["queue names"] == ("fail", f"{PROJECT}-dev-intake is taken")
    finally:
        sqs.delete_queue(QueueUrl=url)
