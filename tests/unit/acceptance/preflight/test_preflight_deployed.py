"""A stage that is deployed already."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from acceptance.preflight.findings import Verdict
from acceptance.preflight.plan import Plan
from tests.unit.acceptance.preflight.conftest import ACCOUNT, REGION, Account, everything, plan

TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:medical-imaging-pipeline-staging-notifications"


def changed(of: Plan, **resources: Any) -> Plan:
    """The plan with other resources; None takes one away."""
    template = copy.deepcopy(dict(of.stacks[0].template))
    for name, body in resources.items():
        template["Resources"].pop(name, None)
        if body is not None:
            template["Resources"][name] = body
    return replace(of, stacks=(replace(of.stacks[0], template=template),))


def test_should_say_that_a_deployed_stage_is_as_synthesized(account: Account) -> None:
    account.deploy(plan())

    findings = account.findings(plan())

    assert {finding.verdict for finding in findings} == {Verdict.OK}
    assert account.found(f"stack {REGION}", plan()).seen == "UPDATE_COMPLETE"
    assert account.found(f"settings {REGION}", plan()).seen == "as synthesized"


def test_should_tell_which_resources_deploying_would_change(account: Account) -> None:
    account.deploy(plan(log_retention="7"))

    finding = account.found(f"settings {REGION}", plan())

    assert finding.verdict is Verdict.WARNING
    assert finding.seen.startswith("9 changed: CompletenessLogs")


def test_should_tell_what_is_new_and_what_would_go(account: Account) -> None:
    other = {"Type": "AWS::SQS::Queue"}
    account.deploy(changed(plan(), IntakeQueue6FB53B87=None, Other=other))

    finding = account.found(f"settings {REGION}", plan())

    assert finding.seen == "1 new: IntakeQueue6FB53B87; 1 gone: Other"


def test_should_not_take_notes_of_cdk_for_a_change(account: Account) -> None:
    queue = plan().stacks[0].resources["IntakeQueue6FB53B87"]
    account.deploy(changed(plan(), IntakeQueue6FB53B87={**queue, "Metadata": {"aws:cdk:path": "a/b"}}))

    assert account.found(f"settings {REGION}", plan()).verdict is Verdict.OK


def test_should_tell_of_drift_that_cloudformation_found(account: Account) -> None:
    account.deploy(plan(), DriftInformation={"StackDriftStatus": "DRIFTED"})

    assert account.found(f"drift {REGION}", plan()).verdict is Verdict.WARNING


@pytest.mark.parametrize(
    ("status", "protected", "verdict"),
    [
        ("UPDATE_ROLLBACK_FAILED", False, Verdict.FAILURE),
        ("ROLLBACK_FAILED", False, Verdict.FAILURE),
        ("DELETE_FAILED", False, Verdict.FAILURE),
        ("UPDATE_IN_PROGRESS", False, Verdict.FAILURE),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", False, Verdict.FAILURE),
        ("ROLLBACK_COMPLETE", True, Verdict.FAILURE),
        ("ROLLBACK_COMPLETE", False, Verdict.WARNING),
        ("UPDATE_ROLLBACK_COMPLETE", False, Verdict.OK),
        ("CREATE_COMPLETE", True, Verdict.OK),
    ],
)
def test_should_know_the_states_that_keep_a_stack_from_its_update(
    account: Account, status: str, protected: bool, verdict: Verdict
) -> None:
    account.deploy(plan(), status, EnableTerminationProtection=protected)

    finding = account.found(f"stack {REGION}", plan())

    assert (finding.verdict, finding.seen) == (verdict, status)


def test_should_take_a_stack_that_was_only_reviewed_for_none(account: Account) -> None:
    account.deploy(plan(), "REVIEW_IN_PROGRESS")

    assert account.found(f"stack {REGION}", plan()).seen == "not deployed yet"


@pytest.mark.parametrize(
    ("subscriptions", "verdict"),
    [
        ([f"{TOPIC}:0-1-2"], Verdict.OK),
        (["PendingConfirmation"], Verdict.WARNING),
        ([], Verdict.WARNING),
    ],
)
def test_should_tell_who_has_not_confirmed_to_get_mail(
    account: Account, subscriptions: list[str], verdict: Verdict
) -> None:
    of = everything()
    account.deploy(of)
    account.answers["sns", "ListSubscriptionsByTopic"] = {
        "Subscriptions": [
            {"SubscriptionArn": arn, "Endpoint": "oncall@example.org", "TopicArn": TOPIC} for arn in subscriptions
        ]
    }

    finding = account.found(f"mail {REGION}", of)

    assert finding.verdict is verdict
    assert ("oncall@example.org" in finding.seen) is (verdict is Verdict.WARNING)
