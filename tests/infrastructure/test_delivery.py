"""The delivery options: a role for those who hand out results, and who may read results from where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from runtime.contract.names import PROJECT
from tests.infrastructure.conftest import StageTemplate, joined
from tests.infrastructure.options import ENDPOINT, PORTAL, RANGE, RESEARCHERS, with_every_option, with_option

INSIDE, OUTSIDE = "198.51.100.7", "203.0.113.7"
OTHER_ENDPOINT = "vpce-0fedcba9876543210"
ADMINISTRATOR = "arn:aws:iam::123456789012:role/administrator"

# How IAM compares one value of a request with one of a policy.
COMPARISONS: Mapping[str, Callable[[str, str], bool]] = {
    "String": lambda given, listed: given == listed,
    "Arn": fnmatchcase,
    "IpAddress": lambda given, listed: ip_address(given) in ip_network(listed),
    "Bool": lambda given, listed: given == listed,
    "Numeric": lambda given, listed: float(given) < float(listed),
}
OPERATORS = {
    "ArnNotEquals": ("Arn", False),
    "StringNotEquals": ("String", False),
    "StringEquals": ("String", True),
    "NotIpAddress": ("IpAddress", False),
    "Bool": ("Bool", True),
    "NumericLessThan": ("Numeric", True),
}


def holds(conditions: Mapping[str, Mapping[str, Any]], request: Mapping[str, str]) -> bool:
    """Tell whether every condition holds, as IAM evaluates it: a negated operator does where its key is missing."""
    for operator, keys in conditions.items():
        if operator == "Null":
            if any((key not in request) is not (value == "true") for key, value in keys.items()):
                return False
            continue
        name, is_positive = OPERATORS[operator]
        for key, values in keys.items():
            texts = [joined(value) if not isinstance(value, float) else str(value) for value in _listed(values)]
            found = key in request and any(COMPARISONS[name](request[key], text) for text in texts)
            if found is not is_positive:
                return False
    return True


def _listed(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def refusals(stage: StageTemplate, bucket: str, action: str, **request: str) -> list[str]:
    """Ids of the statements that refuse a request for an object of a bucket, or of the processed one's replica."""
    context = {"aws:SecureTransport": "true", "s3:TlsVersion": "1.3"}
    context |= {KEYS[name]: value for name, value in request.items()}
    policies = {name: body["Properties"] for name, body in stage.resources("AWS::S3::BucketPolicy").items()}
    if bucket == "replica":
        assert stage.replica is not None
        resources = stage.replica["Resources"].items()
        policies = {f"replica {name}": body["Properties"] for name, body in resources if name.startswith("Processed")}
    (policy,) = [each for name, each in policies.items() if bucket in name and "PolicyDocument" in each]
    statements = policy["PolicyDocument"]["Statement"]
    return [
        statement.get("Sid", "")
        for statement in statements
        if statement["Effect"] == "Deny"
        and statement["Principal"] == {"AWS": "*"}
        and any(fnmatchcase(action, pattern) for pattern in _listed(statement["Action"]))
        and any(joined(resource).endswith("/*") for resource in _listed(statement["Resource"]))
        and holds(statement["Condition"], context)
    ]


KEYS = {"principal": "aws:PrincipalArn", "address": "aws:SourceIp", "endpoint": "aws:SourceVpce"}


def environment(stage: StageTemplate) -> tuple[str, str, str]:
    """Partition, region and account as ARNs have them."""
    if stage.config.region and stage.config.account:
        return "aws", stage.config.region, stage.config.account
    return "${AWS::Partition}", "${AWS::Region}", "${AWS::AccountId}"


def delivery_role(stage: StageTemplate) -> str:
    """By its name, since the replica's policy knows no other."""
    partition, region, account = environment(stage)
    return f"arn:{partition}:iam::{account}:role/{stage.config.name}-delivery-{region}"


def role_of(stage: StageTemplate, function: str) -> str:
    return f"${{{stage.role(function)}.Arn}}"


@pytest.fixture(params=["dev", "prod"])
def stage(request: pytest.FixtureRequest) -> StageTemplate:
    """A stage that restricts delivery: alone, and with every other option and keys of its own."""
    return with_every_option("prod") if request.param == "prod" else with_option("delivery")


def test_should_let_the_named_principals_and_nobody_else_take_on_the_delivery_role(stage: StageTemplate) -> None:
    role = stage.one("AWS::IAM::Role", "DeliveryRole")
    assert joined(role["RoleName"]) == delivery_role(stage).rpartition("/")[2], "IAM is global, a stage is not"
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert (trust["Effect"], trust["Action"]) == ("Allow", "sts:AssumeRole")
    assert trust["Principal"] == {"AWS": [RESEARCHERS, PORTAL]}
    assert role["MaxSessionDuration"] == 12 * 3600


def test_should_let_the_delivery_role_read_results_and_nothing_else(stage: StageTemplate) -> None:
    (processed,) = [name for name in stage.resources("AWS::S3::Bucket") if "Processed" in name]
    (links,) = [name for name in stage.resources("AWS::DynamoDB::Table") if "LinkAudit" in name]
    partition, region, account = environment(stage)
    parameters = f"arn:{partition}:ssm:{region}:{account}:parameter/{PROJECT}/{stage.config.stage}"
    keys = stage.resources("AWS::KMS::Key")
    allowed = {
        (action, joined(resource))
        for statement in stage.statements("DeliveryRole")
        for action in _listed(statement["Action"])
        for resource in _listed(statement["Resource"])
    }
    of_replica = {right for right in allowed if "-replica" in right[1]}
    assert {action for action, _ in of_replica} == (
        {"s3:GetObject", "s3:ListBucket", "kms:Decrypt"} if stage.replica else set()
    )
    assert all("Processed" in resource or "Research" in resource for _, resource in of_replica)
    allowed -= of_replica
    decrypting = {("kms:Decrypt", f"${{{name}.Arn}}") for name in keys if "Processed" in name or "Research" in name}
    assert len(decrypting) == (1 if stage.config.encryption == "kms" else 0)
    assert allowed == decrypting | {
        ("s3:GetObject", f"${{{processed}.Arn}}/*"),
        ("s3:ListBucket", f"${{{processed}.Arn}}"),
        ("dynamodb:PartiQLInsert", f"${{{links}.Arn}}"),
        *(("ssm:GetParameter", f"{parameters}/{name}") for name in ("processed-bucket-name", "link-audit-table-name")),
    }


@pytest.mark.parametrize("action", ["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging"])
@pytest.mark.parametrize(
    ("where", "refused"),
    [
        ({"address": INSIDE}, []),
        ({"endpoint": ENDPOINT}, []),
        ({"address": OUTSIDE}, ["ReadFromDeliveryNetworksOnly"]),
        ({"endpoint": OTHER_ENDPOINT}, ["ReadFromDeliveryNetworksOnly"]),
        ({}, ["ReadFromDeliveryNetworksOnly"]),  # a service that acts for the role, and tells neither
    ],
)
def test_should_let_the_delivery_role_and_its_links_read_from_the_networks_only(
    stage: StageTemplate, action: str, where: dict[str, str], refused: list[str]
) -> None:
    """A link is a request by the role that signed it, from where it is followed."""
    assert refusals(stage, "Processed", action, principal=delivery_role(stage), **where) == refused
    if stage.replica:
        assert refusals(stage, "replica", action, principal=delivery_role(stage), **where) == refused


@pytest.mark.parametrize("where", [{"address": INSIDE}, {"endpoint": ENDPOINT}, {"address": OUTSIDE}, {}])
def test_should_refuse_results_to_everybody_else_wherever_they_are(stage: StageTemplate, where: dict[str, str]) -> None:
    for principal in (ADMINISTRATOR, RESEARCHERS, role_of(stage, "validation"), role_of(stage, "replay")):
        for bucket in ("Processed", *(["replica"] if stage.replica else [])):
            assert "ReadThroughDeliveryRoleOnly" in refusals(
                stage, bucket, "s3:GetObject", principal=principal, **where
            )


@pytest.mark.parametrize("where", [{"address": OUTSIDE}, {"endpoint": OTHER_ENDPOINT}, {}])
@pytest.mark.parametrize("action", ["s3:GetObject", "s3:GetObjectVersion"])
def test_should_never_refuse_the_pipelines_own_reading(
    stage: StageTemplate, action: str, where: dict[str, str]
) -> None:
    """De-identification looks at each result it wrote, from wherever Lambda runs it."""
    deidentification = role_of(stage, "deidentification")
    assert refusals(stage, "Processed", action, principal=deidentification, **where) == []


def test_should_exempt_every_role_of_the_pipeline_that_may_read_results(stage: StageTemplate) -> None:
    """Whoever is given the right to read results has to be given to `Delivery` too, or is locked out."""
    (processed,) = [name for name in stage.resources("AWS::S3::Bucket") if "Processed" in name]
    readers = {
        (role["Ref"], action)
        for policy in stage.resources("AWS::IAM::Policy").values()
        for role in policy["Properties"]["Roles"]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        for action in _listed(statement["Action"])
        if action.startswith("s3:GetObject")
        and any(f"${{{processed}.Arn}}/" in joined(resource) for resource in _listed(statement["Resource"]))
    }
    assert stage.role("deidentification") in {role for role, _ in readers}
    for role, action in readers:
        if "DeliveryRole" not in role:
            assert refusals(stage, "Processed", action, principal=f"${{{role}.Arn}}") == []


@pytest.mark.parametrize("action", ["s3:PutObject", "s3:AbortMultipartUpload", "s3:DeleteObject"])
def test_should_refuse_reading_only(stage: StageTemplate, action: str) -> None:
    """The policy itself stays changeable, so that a wrong setting can be mended."""
    assert refusals(stage, "Processed", action, principal=ADMINISTRATOR, address=OUTSIDE) == []
    assert refusals(stage, "Raw", "s3:GetObject", principal=ADMINISTRATOR, address=OUTSIDE) == []


@pytest.mark.parametrize(
    ("networks", "refused"),
    [
        ([RANGE], {INSIDE: False, OUTSIDE: True, ENDPOINT: True}),
        ([ENDPOINT], {INSIDE: True, OUTSIDE: True, ENDPOINT: False}),
        ([RANGE, "203.0.113.0/29"], {INSIDE: False, OUTSIDE: False, ENDPOINT: True}),
    ],
)
def test_should_know_ranges_and_endpoints_apart(networks: list[str], refused: dict[str, bool]) -> None:
    stage = StageTemplate("dev", delivery_networks=networks)
    for network, is_refused in refused.items():
        where = {"endpoint" if network.startswith("vpce-") else "address": network}
        assert bool(refusals(stage, "Processed", "s3:GetObject", principal=ADMINISTRATOR, **where)) is is_refused
    assert not [name for name in stage.resources("AWS::IAM::Role") if "Delivery" in name], "no principals, no role"


def test_should_let_the_delivery_role_read_from_everywhere_where_no_network_is_named() -> None:
    stage = StageTemplate("dev", delivery_principals=[PORTAL])
    for where in ({"address": OUTSIDE}, {"endpoint": OTHER_ENDPOINT}):
        delivery, deidentification = delivery_role(stage), role_of(stage, "deidentification")
        assert refusals(stage, "Processed", "s3:GetObject", principal=delivery, **where) == []
        assert refusals(stage, "Processed", "s3:GetObject", principal=deidentification, **where) == []
        assert refusals(stage, "Processed", "s3:GetObject", principal=ADMINISTRATOR, **where)


def test_should_restrict_nothing_and_have_no_role_by_default(every_stage: StageTemplate) -> None:
    assert refusals(every_stage, "Processed", "s3:GetObject", principal=ADMINISTRATOR, address=OUTSIDE) == []
    assert not [name for name in every_stage.resources("AWS::IAM::Role") if "Delivery" in name]
