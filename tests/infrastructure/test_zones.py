"""The zones' keys: what each encrypts, who keeps it in order, and who may use it, for what and no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infrastructure.conftest import StageTemplate
from tests.infrastructure.key_use import ENCRYPTED_BY, STORE, KeyUse, Need, Statement, listed, referred

RESEARCH = ("BucketsProcessed", "AnnouncementsBus", "AnnouncementsDeliveries", "LinkAudit")
ACCESS_LOGS = "BucketsLogs"
CRYPTOGRAPHY = {f"kms:{action}" for action in STORE} - {"kms:DescribeKey"} | {"kms:CreateGrant"}


@pytest.fixture(scope="module")
def own_keys() -> StageTemplate:
    """Production with everything that notifies somebody."""
    return StageTemplate("prod", alert_emails="a@example.org", delivery_emails="r@example.org")


def zone_of(key: str) -> str:
    return "PHI" if "PHI" in key else "Research"


def statements(use: KeyUse) -> Iterator[tuple[str, Statement]]:
    for key, policy in use.policies.items():
        yield from ((key, statement) for statement in policy)


def by_service(use: KeyUse) -> list[tuple[str, int, str]]:
    """Each service that a statement lets in: the key, the statement's number, the service."""
    return [
        (key, number, service)
        for key, policy in use.policies.items()
        for number, statement in enumerate(policy)
        for service in listed(statement["Principal"].get("Service", []))
    ]


def test_should_encrypt_everything_at_rest_by_its_zones_key(own_keys: StageTemplate) -> None:
    use = KeyUse(own_keys)
    resources = {
        name: body["Type"] for name, body in own_keys.json["Resources"].items() if body["Type"] in ENCRYPTED_BY
    }
    assert set(resources.values()) == set(ENCRYPTED_BY), "there is one of every type"
    for name in resources:
        key = use.key_of(name)
        if name.startswith(ACCESS_LOGS):
            assert key is None, "S3 delivers access logs to SSE-S3 only"
            continue
        assert key is not None, name
        assert zone_of(key) == ("Research" if name.startswith(RESEARCH) else "PHI"), name


def test_should_use_bucket_keys(own_keys: StageTemplate) -> None:
    for name, bucket in own_keys.resources("AWS::S3::Bucket").items():
        (rule,) = bucket["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule.get("BucketKeyEnabled", False) is not name.startswith(ACCESS_LOGS)


SSE = "s3:x-amz-server-side-encryption"
OWN_KEY, OTHER_KEY = "the bucket's key", "another key"


@pytest.mark.parametrize(
    ("asked", "refused"),
    [
        ({}, False),
        ({"": "aws:kms", "-aws-kms-key-id": OWN_KEY}, False),
        ({"": "aws:kms", "-aws-kms-key-id": OTHER_KEY}, True),
        ({"": "aws:kms"}, True),
        ({"": "AES256"}, True),
        ({"": "aws:kms:dsse", "-aws-kms-key-id": OWN_KEY}, True),
        ({"-customer-algorithm": "AES256"}, True),
    ],
)
def test_should_refuse_objects_that_their_uploader_encrypts_otherwise(
    own_keys: StageTemplate, asked: dict[str, str], *, refused: bool
) -> None:
    """SSE-KMS without a key would be under the account's AWS-managed key."""
    use = KeyUse(own_keys)
    headers = {f"{SSE}{name}": value for name, value in asked.items()}
    for body in own_keys.resources("AWS::S3::BucketPolicy").values():
        bucket = referred(body["Properties"]["Bucket"])
        denials = [
            statement["Condition"]
            for statement in body["Properties"]["PolicyDocument"]["Statement"]
            if (statement["Action"], statement["Effect"]) == ("s3:PutObject", "Deny")
        ]
        if bucket.startswith(ACCESS_LOGS):
            assert denials == []
            continue
        own = str(use.key_of(bucket))
        assert any(_applies(denial, headers, own) for denial in denials) is refused


def _applies(condition: dict[str, dict[str, Any]], headers: dict[str, str], own_key: str) -> bool:
    """Whether a denial's condition holds for a request with these headers."""

    def value(operand: Any) -> str:
        return OWN_KEY if referred(operand) == own_key else str(operand)

    tests = {
        "Null": lambda name, operand: (name not in headers) is (operand == "true"),
        "StringEquals": lambda name, operand: headers.get(name) == value(operand),
        "StringNotEquals": lambda name, operand: headers.get(name) != value(operand),
    }
    return all(tests[test](name, operand) for test, named in condition.items() for name, operand in named.items())


def test_should_have_keys_only_where_the_stage_chooses_them(every_stage: StageTemplate) -> None:
    own = every_stage.config.encryption == "kms"
    assert own is (every_stage.config.stage == "prod")
    assert len(every_stage.resources("AWS::KMS::Key")) == (2 if own else 0)
    assert ("kms:" in json.dumps(every_stage.json)) is own


def test_should_rotate_name_and_retain_the_keys(own_keys: StageTemplate) -> None:
    for key in own_keys.resources("AWS::KMS::Key").values():
        assert key["Properties"]["EnableKeyRotation"] is True
        assert key["Properties"]["PendingWindowInDays"] == 30
        assert key["DeletionPolicy"] == "RetainExceptOnCreate"
    aliases = {
        zone_of(referred(alias["Properties"]["TargetKeyId"])): alias["Properties"]["AliasName"]
        for alias in own_keys.resources("AWS::KMS::Alias").values()
    }
    assert aliases == {
        "PHI": "alias/medical-imaging-pipeline-prod-phi",
        "Research": "alias/medical-imaging-pipeline-prod-research",
    }


def test_should_let_nobody_use_a_key_without_a_bound(own_keys: StageTemplate) -> None:
    for key, statement in statements(KeyUse(own_keys)):
        actions = set(listed(statement["Action"]))
        assert not [action for action in actions if "*" in action]
        conditions = {name for tests in statement.get("Condition", {}).values() for name in tests}
        if actions & CRYPTOGRAPHY:
            assert conditions & {"kms:ViaService"} or [n for n in conditions if "EncryptionContext" in n], (
                key,
                actions,
            )
        if "Service" in statement["Principal"]:
            assert conditions


def test_should_let_administrators_keep_a_key_in_order_and_not_use_it(own_keys: StageTemplate) -> None:
    for policy in KeyUse(own_keys).policies.values():
        (administration,) = [statement for statement in policy if "Condition" not in statement]
        actions = set(listed(administration["Action"]))
        assert {"kms:PutKeyPolicy", "kms:DescribeKey", "kms:ScheduleKeyDeletion"} <= actions
        assert not actions & CRYPTOGRAPHY


def test_should_let_the_account_use_a_key_through_its_zones_services_only(own_keys: StageTemplate) -> None:
    services = {"PHI": set[str](), "Research": set[str]()}
    for key, statement in statements(KeyUse(own_keys)):
        via = statement.get("Condition", {}).get("StringEquals", {}).get("kms:ViaService", [])
        services[zone_of(key)] |= {service.split(".")[0] for service in listed(via)}
    assert services == {
        "PHI": {"dynamodb", "logs", "s3", "secretsmanager", "sns", "sqs", "states"},
        "Research": {"dynamodb", "events", "s3", "sns"},
    }


def test_should_allow_every_sender_writer_and_reader_the_key_of_what_it_uses(own_keys: StageTemplate) -> None:
    use = KeyUse(own_keys)
    needs = use.needs()
    kinds = {need.edge.split()[0] for need in needs} - set(use.roles)
    assert kinds == {"rule", "alarm", "subscription", "bus", "log", "history"}
    assert len([role for role in use.roles if any(need.who == role for need in needs)]) == 9
    assert [need for need in needs if not use.permitted(need)] == []


def test_should_let_in_no_service_that_needs_not(own_keys: StageTemplate) -> None:
    """And would miss each one: without it, something that is sent or written fails."""
    use = KeyUse(own_keys)
    needs, admitted = use.needs(), by_service(use)
    services = {service.removesuffix(".amazonaws.com") for _, _, service in admitted}
    assert services == {"cloudwatch", "events", "sns", "logs.eu-central-1", "delivery.logs"}
    idle = []
    for key, number, service in admitted:
        without = use.twin()
        principal = without.policies[key][number]["Principal"]
        principal["Service"] = [other for other in listed(principal["Service"]) if other != service]
        if all(without.permitted(need) for need in needs):
            idle.append((key, number, service))
    assert idle == []


def test_should_give_no_role_a_right_to_a_key_that_it_needs_not(own_keys: StageTemplate) -> None:
    use = KeyUse(own_keys)
    needs, idle = use.needs(), []
    for role, policy in use.roles.items():
        for number, statement in enumerate(policy):
            for action in [action for action in listed(statement["Action"]) if action.startswith("kms:")]:
                without = use.twin()
                kept = [other for other in listed(statement["Action"]) if other != action]
                without.roles[role][number]["Action"] = kept
                if all(without.permitted(need) for need in needs):
                    idle.append((role, action, statement["Condition"]))
    assert idle == []


@pytest.mark.parametrize(
    ("who", "service"),
    [
        ("rule IntakeObjectCreated", "events.amazonaws.com"),
        ("alarm MonitoringExecutionsFailed", "cloudwatch.amazonaws.com"),
        ("subscription ", "sns.amazonaws.com"),
        ("bus", "events.amazonaws.com"),
        ("log", "logs.eu-central-1.amazonaws.com"),
        ("log", "delivery.logs.amazonaws.com"),
    ],
)
def test_should_refuse_the_same_service_from_elsewhere(own_keys: StageTemplate, who: str, service: str) -> None:
    use = KeyUse(own_keys)
    needs = [need for need in use.needs() if need.edge.startswith(who) and need.who == service]
    assert needs
    for need in needs:
        assert use.permitted(need)
        for number in range(len(need.context)):
            assert not use.permitted(_elsewhere(need, number))
        assert not use.permitted(Need(need.edge, "lambda.amazonaws.com", need.action, need.key, need.context))


def _elsewhere(need: Need, number: int) -> Need:
    """The same request for another account's, or another, resource."""
    changed = [(name, "999999999999" if n == number else value) for n, (name, value) in enumerate(need.context)]
    return Need(need.edge, need.who, need.action, need.key, tuple(changed))


def test_should_let_deidentification_alone_decrypt_objects_of_one_zone_and_write_into_the_other(
    own_keys: StageTemplate,
) -> None:
    use = KeyUse(own_keys)
    through_s3 = {
        (role, zone_of(referred(statement["Resource"])))
        for role, policy in use.roles.items()
        for statement in policy
        if "s3." in json.dumps(statement.get("Condition", {}).get("StringEquals", {}).get("kms:ViaService", ""))
    }
    both = {role for role, zone in through_s3 if zone == "Research"} & {r for r, zone in through_s3 if zone == "PHI"}
    assert [role for role in both if "Deidentification" not in role] == []
    assert len(both) == 1


def test_should_keep_the_bus_and_its_dead_letters_together(own_keys: StageTemplate, dev: StageTemplate) -> None:
    """What an encrypted bus can't en- or decrypt goes to its dead letters, if it may send there."""
    bus = own_keys.one("AWS::Events::EventBus")
    queue = referred(bus["DeadLetterConfig"]["Arn"])
    (policy,) = [
        body["Properties"]["PolicyDocument"]["Statement"]
        for body in own_keys.resources("AWS::SQS::QueuePolicy").values()
        if body["Properties"]["Queues"] == [{"Ref": queue}]
    ]
    senders = [statement["Condition"] for statement in policy if statement["Effect"] == "Allow"]
    assert any("AnnouncementsBus" in json.dumps(condition) for condition in senders)
    assert "DeadLetterConfig" not in dev.one("AWS::Events::EventBus")
