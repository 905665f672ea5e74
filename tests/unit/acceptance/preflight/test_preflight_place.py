"""Account, region and bootstrap."""

from __future__ import annotations

import boto3
import pytest

from acceptance.preflight.__main__ import main
from acceptance.preflight.findings import Verdict
from tests.unit.acceptance.preflight.conftest import ACCOUNT, REGION, Account, plan

OTHER = "999999999999"
BOOTSTRAP = "/cdk-bootstrap/hnb659fds/version"


def test_should_find_nothing_wrong_with_an_account_that_is_ready(account: Account) -> None:
    findings = account.findings(plan())

    assert {finding.verdict for finding in findings} == {Verdict.OK}
    assert account.found(f"region {REGION}", plan()).seen == f"of account {ACCOUNT}"
    assert account.found(f"bootstrap {REGION}", plan()).seen == "version 21, of which 6 is enough"


def test_should_say_in_a_sentence_that_there_are_no_credentials(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(boto3.Session, "get_credentials", lambda _: None)

    assert main(["--stage", "dev"]) == 1

    assert capsys.readouterr().err == "There are no AWS credentials: name a profile by AWS_PROFILE, or log in.\n"


def test_should_say_in_a_sentence_that_there_is_no_such_profile(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    assert main(["--stage", "dev"]) == 1

    assert (
        capsys.readouterr().err
        == "The AWS configuration can't be used: The config profile (nobody) could not be found.\n"
    )


def test_should_say_in_a_sentence_that_no_region_is_chosen(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    assert main(["--stage", "dev"]) == 1

    assert "No region is chosen" in capsys.readouterr().err


def test_should_say_in_a_sentence_that_credentials_expired(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.answers["sts", "GetCallerIdentity"] = {"Error": {"Code": "ExpiredToken", "Message": "secret details"}}

    assert main(["--stage", "dev"]) == 1

    assert capsys.readouterr().err == (
        "AWS doesn't tell whose the credentials are: sts:GetCallerIdentity answered ExpiredToken. "
        f"Log in again, or enable {REGION} in their account.\n"
    )


def test_should_stop_at_credentials_of_another_account(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stage", "dev", "-c", f"account={OTHER}"]) == 1

    assert f"The credentials are of account {ACCOUNT}, and the stage is for {OTHER}" in capsys.readouterr().err
    assert account.asked == {("sts", "GetCallerIdentity")}


def test_should_fail_without_a_bootstrap_and_say_how_to_get_one(account: Account) -> None:
    boto3.client("ssm").delete_parameter(Name=BOOTSTRAP)

    finding = account.found(f"bootstrap {REGION}", plan())

    assert finding.verdict is Verdict.FAILURE
    assert finding.needed == f".venv/bin/python -m local.cdk bootstrap aws://{ACCOUNT}/{REGION}"


def test_should_fail_for_a_bootstrap_older_than_the_assembly_requires(account: Account) -> None:
    boto3.client("ssm").put_parameter(Name=BOOTSTRAP, Value="5", Type="String", Overwrite=True)

    finding = account.found(f"bootstrap {REGION}", plan())

    assert (finding.verdict, finding.seen) == (Verdict.FAILURE, "version 5, and 6 is required")


def test_should_look_at_the_replicas_region_too(account: Account) -> None:
    boto3.client("ssm", region_name="eu-west-1").delete_parameter(Name=BOOTSTRAP)
    of = plan(account=ACCOUNT, region=REGION, replica_region="eu-west-1")

    assert account.found(f"bootstrap {REGION}", of).verdict is Verdict.OK
    assert account.found("bootstrap eu-west-1", of).verdict is Verdict.FAILURE


def test_should_fail_for_a_region_that_the_account_has_not_enabled(account: Account) -> None:
    account.answers["ec2", "DescribeRegions"] = {"Regions": [{"RegionName": REGION, "OptInStatus": "not-opted-in"}]}

    finding = account.found(f"region {REGION}", plan())

    assert finding.verdict is Verdict.FAILURE
    assert "enable-region" in finding.needed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--stage", "nowhere"], "There is no stage 'nowhere'"),
        (["--stage", "dev", "-c", "profil=basic"], "there is profile"),
    ],
)
def test_should_end_with_2_when_asked_wrongly(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2

    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["-c", "region"], ["--objects-per-hour", "many"], ["--objects-per-hour", "0"]])
def test_should_refuse_arguments_that_say_nothing(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--stage", "dev", *arguments])

    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
