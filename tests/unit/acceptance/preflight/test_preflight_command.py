"""What people see, what machines get, and the rights that it takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError

from acceptance.preflight.__main__ import main
from acceptance.preflight.aws import Aws, action
from acceptance.preflight.findings import Verdict
from tests.unit.acceptance.preflight.conftest import ACCOUNT, EVERYTHING, REGION, Account, everything, plan

RIGHTS = Path(__file__).parents[4] / "docs" / "rights.md"


def test_should_fit_80_columns_and_keep_commands_whole(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    account.answers["ssm", "GetParameter"] = {"Error": {"Code": "ParameterNotFound", "Message": "no"}}
    context = [word for name, value in EVERYTHING.items() for word in ("-c", f"{name}={value}")]

    assert main(["--stage", "staging", *context, "--objects-per-hour", "300000"]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert f"  > .venv/bin/python -m local.cdk bootstrap aws://{ACCOUNT}/{REGION}" in lines
    assert re.fullmatch(r"3 will fail, 0 to think about, 0 not looked at, \d+ fine", lines[-1])


def test_should_print_everything_as_json(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stage", "dev", "--json"]) == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {tuple(line) for line in lines} == {("check", "verdict", "seen", "needed")}
    assert {line["verdict"] for line in lines} == {"ok"}


def test_should_end_with_0_for_warnings_and_what_was_not_looked_at(account: Account) -> None:
    account.deny("lambda", "GetAccountSettings")
    account.answers["pricing", "GetProducts"] = {"PriceList": []}

    verdicts = {finding.verdict for finding in account.findings(plan())}

    assert verdicts == {Verdict.OK, Verdict.WARNING, Verdict.UNSEEN}
    assert main(["--stage", "dev"]) == 0


@pytest.mark.parametrize("error", [EndpointConnectionError, ConnectTimeoutError])
def test_should_say_in_words_that_a_service_cannot_be_reached(
    account: Account, monkeypatch: pytest.MonkeyPatch, error: type[EndpointConnectionError | ConnectTimeoutError]
) -> None:
    account.answers["service-quotas", "GetServiceQuota"] = lambda _: (_ for _ in ()).throw(
        error(endpoint_url="https://servicequotas")
    )

    finding = account.found("PutEvents", plan())

    assert finding.seen == f"not looked at: service-quotas in {REGION} can't be reached"


def test_should_ask_again_where_aws_throttles(account: Account) -> None:
    client = Aws(boto3.Session(), REGION).client("lambda", REGION)

    assert client.meta.config.retries == {"mode": "standard", "total_max_attempts": 8}


def test_should_ask_for_what_the_documented_policy_allows_and_no_less(account: Account) -> None:
    of = everything()
    account.findings(of)
    account.deploy(of)
    account.answers["sns", "ListSubscriptionsByTopic"] = {"Subscriptions": []}
    account.findings(of)

    _, _, section = RIGHTS.read_text().partition("## What preflight needs\n")
    documented = set(json.loads(section.partition("```json\n")[2].partition("```")[0])["Statement"][0]["Action"])

    asked = {action(service, operation) for service, operation in account.asked} - {"sts:GetCallerIdentity"}
    default = {"servicequotas:GetAWSDefaultServiceQuota"}  # asked only where the account was granted none
    assert asked | default == documented
    assert not [each for each in documented if not re.match(r"\w+:(Get|List|Describe)", each)]
