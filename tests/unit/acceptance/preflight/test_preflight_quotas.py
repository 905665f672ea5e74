"""Quotas against what a stage adds and against the objects it is meant to process."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache

import pytest

from acceptance.preflight.findings import Verdict
from acceptance.preflight.plan import Plan, synthesize
from acceptance.preflight.quotas.usage import usage
from imaging_pipeline.operations.cost.assumptions import Assumptions
from imaging_pipeline.operations.cost.templates import Templates
from runtime.contract.names import Function
from tests.unit.acceptance.preflight.conftest import DENIED, Account, concurrency, everything, plan


def test_should_take_what_an_object_uses_from_where_cost_takes_it() -> None:
    template = plan().stacks[0].template
    one, assumed = usage(template), asdict(Assumptions())

    assert one.transitions == len(Templates(template).delivery_states())
    assert one.seconds[Function.DEIDENTIFICATION] == assumed["deidentification_ms"] / 1000
    assert set(one.seconds) == {Function.INGESTION, Function.VALIDATION, Function.DEIDENTIFICATION, Function.DISPATCHER}
    assert one.events == 1
    assert one.writes == assumed["ledger_writes"]


def test_should_say_what_ends_first_and_the_quota_to_ask_for(account: Account) -> None:
    transitions = usage(plan().stacks[0].template).transitions

    finding = account.found("ends first", plan(dispatcher_concurrency=10))

    assert finding.seen == f"state transitions, at {800 / transitions * 3600:,.0f} objects/h"
    assert finding.needed == "for more: ask for L-AD9B4E93 and L-137B3F65, or workflow_type=EXPRESS"


def test_should_fail_for_more_objects_than_state_transitions_allow(account: Account) -> None:
    finding = account.found("state transitions", plan(), wanted=300_000)

    assert finding.verdict is Verdict.FAILURE
    assert finding.needed.startswith("300,000 objects/h: ask for L-AD9B4E93")


def test_should_warn_where_little_is_left(account: Account) -> None:
    transitions = usage(plan().stacks[0].template).transitions

    assert account.found("state transitions", plan(), wanted=750 / transitions * 3600).verdict is Verdict.WARNING
    assert account.found("state transitions", plan(), wanted=400 / transitions * 3600).verdict is Verdict.OK


def test_should_not_count_transitions_of_express_executions(account: Account) -> None:
    findings = account.findings(plan(workflow_type="EXPRESS"), wanted=1_000_000)

    checks = {finding.check: finding for finding in findings}
    assert "state transitions" not in checks
    assert "6,000/s" in checks["StartExecution"].seen


def test_should_take_the_value_of_everybody_where_none_was_granted(account: Account) -> None:
    account.answers["service-quotas", "GetServiceQuota"] = {
        "Error": {"Code": "NoSuchResourceException", "Message": "no"}
    }
    account.answers["service-quotas", "GetAWSDefaultServiceQuota"] = account.quota

    assert account.found("StartExecution", plan()).seen == "150/s (800 at once), 1 an object: 540,000 objects/h"


def test_should_warn_that_dispatchers_may_take_a_new_accounts_functions(account: Account) -> None:
    account.answers["lambda", "GetAccountSettings"] = concurrency(10)

    finding = account.found("Lambda burst", plan(dispatcher_concurrency=10))

    assert finding.verdict is Verdict.WARNING
    assert "L-B99A9384" in finding.needed


def test_should_fail_for_more_objects_than_functions_can_take(account: Account) -> None:
    account.answers["lambda", "GetAccountSettings"] = concurrency(10)

    finding = account.found("Lambda concurrency", plan(), wanted=50_000)

    assert finding.verdict is Verdict.FAILURE
    assert finding.needed == "50,000 objects/h: ask for L-B99A9384"


@pytest.mark.parametrize(
    ("total", "unreserved", "verdict"),
    [(1000, 1000, Verdict.OK), (1000, 119, Verdict.FAILURE), (1000, 120, Verdict.OK), (50, 50, Verdict.FAILURE)],
)
def test_should_leave_unreserved_what_lambda_insists_on(
    account: Account, total: int, unreserved: int, verdict: Verdict
) -> None:
    account.answers["lambda", "GetAccountSettings"] = concurrency(total, unreserved)
    of = reserving()

    assert account.found("Lambda reserved", of).verdict is verdict


def test_should_give_an_update_back_what_the_stage_has_reserved(account: Account) -> None:
    account.answers["lambda", "GetAccountSettings"] = concurrency(1000, 100)
    of = reserving()
    account.deploy(of)

    assert account.found("Lambda reserved", of).verdict is Verdict.OK


def test_should_count_a_reserved_function_by_itself(account: Account) -> None:
    assert account.found("dispatcher, reserved", reserving()).seen.startswith("20 at once: ")


def test_should_fail_where_buckets_have_no_room(account: Account) -> None:
    account.values["L-DC2B2D3D"] = 3

    finding = account.found("S3 buckets", plan())

    assert finding.verdict is Verdict.FAILURE
    assert finding.needed == "ask for L-DC2B2D3D"


def test_should_not_count_buckets_twice_that_are_deployed(account: Account) -> None:
    account.values["L-DC2B2D3D"] = 0
    account.deploy(plan())

    assert account.found("S3 buckets", plan()).verdict is Verdict.OK


def test_should_fail_where_the_region_has_no_room_for_a_vpc(account: Account) -> None:
    account.values["L-F678F1CE"] = 1

    assert account.found("VPCs", everything()).needed == "ask for L-F678F1CE"


@pytest.mark.parametrize(
    ("names", "verdict"),
    [
        ([f"policy-{number}" for number in range(9)], Verdict.OK),
        ([f"policy-{number}" for number in range(10)], Verdict.FAILURE),
        ([f"policy-{number}" for number in range(9)] + ["AWSLogDeliveryWrite20150319"], Verdict.OK),
    ],
)
def test_should_need_one_resource_policy_of_logs_unless_it_is_there(
    account: Account, names: list[str], verdict: Verdict
) -> None:
    account.answers["logs", "DescribeResourcePolicies"] = {"resourcePolicies": [{"policyName": name} for name in names]}

    assert account.found("log policies", plan()).verdict is verdict


def test_should_say_which_right_is_missing_and_fail_nothing_else(account: Account) -> None:
    account.answers["service-quotas", "GetServiceQuota"] = DENIED

    findings = account.findings(plan(), wanted=100)

    unseen = {finding.check: finding.seen for finding in findings if finding.verdict is Verdict.UNSEEN}
    assert set(unseen) == {"S3 buckets", "state transitions", "StartExecution", "PutEvents", "DynamoDB writes"}
    assert set(unseen.values()) == {"not looked at: needs servicequotas:GetServiceQuota"}
    assert Verdict.FAILURE not in {finding.verdict for finding in findings}
    (first,) = [finding for finding in findings if finding.check == "ends first"]
    assert first.seen.endswith("of what could be looked at")


@cache
def reserving() -> Plan:
    """A stage that reserves concurrency for its dispatcher."""
    return synthesize("dev", {"functions": {"dispatcher": {"reserved_concurrency": 20}}})
