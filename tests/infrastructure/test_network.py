"""The VPC option: no way out but the endpoints, and through these what the functions may do and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runtime.contract.names import Function
from tests.infrastructure.conftest import StageTemplate, joined
from tests.infrastructure.options import with_every_option, with_option

NETWORK_INTERFACES = {
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
}
# What Lambda does for a function by its role, from outside of the VPC: put it there, send its traces, poll its queue,
# and keep what failed. The service that is called for an encrypted resource calls KMS.
DONE_BY_SERVICES = {"ec2", "xray", "sqs", "kms"}


@pytest.fixture(params=["dev", "prod"])
def stage(request: pytest.FixtureRequest) -> StageTemplate:
    """A stage in a VPC: alone, and with every other option and keys of its own."""
    return with_every_option("prod") if request.param == "prod" else with_option("network")


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def rights(allowed: list[dict[str, Any]], principal: str) -> Iterator[tuple[str, str, str]]:
    """Triples of who may do what to which resource."""
    for statement in allowed:
        if statement["Effect"] == "Allow":
            for action in listed(statement["Action"]):
                for resource in listed(statement["Resource"]):
                    yield principal, action, joined(resource)


def function_rights(stage: StageTemplate) -> set[tuple[str, str, str]]:
    """What the functions' code does through the network."""
    printed = {f"${{{stage.function(name)['LoggingConfig']['LogGroup']['Ref']}.Arn}}" for name in Function}
    return {
        (role, action, resource)
        for name in Function
        for role, action, resource in rights(stage.statements(stage.role(name)), stage.role(name))
        if action.split(":")[0] not in DONE_BY_SERVICES and resource not in printed
    }


def endpoints(stage: StageTemplate) -> dict[str, dict[str, Any]]:
    """Endpoints by the name of their service."""
    found = [endpoint["Properties"] for endpoint in stage.resources("AWS::EC2::VPCEndpoint").values()]
    return {joined(endpoint["ServiceName"]).rpartition(".")[2]: endpoint for endpoint in found}


def test_should_run_every_function_in_private_subnets_of_as_many_zones_as_the_stage_says(stage: StageTemplate) -> None:
    subnets = stage.resources("AWS::EC2::Subnet")
    assert [subnet["Properties"]["CidrBlock"] for subnet in subnets.values()] == [
        "10.42.0.0/23",
        "10.42.2.0/23",
        "10.42.4.0/23",
    ]
    assert not any(subnet["Properties"]["MapPublicIpOnLaunch"] for subnet in subnets.values())
    functions = stage.resources("AWS::Lambda::Function")
    assert len(functions) == len(Function)
    for function in functions.values():
        configuration = function["Properties"]["VpcConfig"]
        assert {subnet["Ref"] for subnet in configuration["SubnetIds"]} == set(subnets)
        ((group, _),) = [group["Fn::GetAtt"] for group in configuration["SecurityGroupIds"]]
        assert "NetworkFunctionsSecurityGroup" in group


def test_should_have_room_for_as_many_zones_as_a_region_has_in_the_smallest_vpc() -> None:
    stage = StageTemplate("dev", vpc_cidr="10.42.0.0/24", vpc_availability_zones=6)
    ranges = [subnet["Properties"]["CidrBlock"] for subnet in stage.resources("AWS::EC2::Subnet").values()]
    assert ranges == [f"10.42.0.{32 * number}/27" for number in range(6)]


def test_should_put_the_subnets_into_the_zones_that_the_stage_names() -> None:
    zones = ["eu-central-1b", "eu-central-1c"]
    options = {"region": "eu-central-1", "vpc_cidr": "10.42.0.0/20", "vpc_availability_zones": ",".join(zones)}
    stage = StageTemplate("dev", **options)
    subnets = stage.resources("AWS::EC2::Subnet").values()
    assert [subnet["Properties"]["AvailabilityZone"] for subnet in subnets] == zones
    assert "Fn::GetAZs" not in str(stage.json)


def test_should_have_no_way_out_of_the_vpc(stage: StageTemplate) -> None:
    types = {resource["Type"] for resource in stage.json["Resources"].values()}
    assert "AWS::EC2::VPC" in types
    assert not types & {
        "AWS::EC2::InternetGateway",
        "AWS::EC2::EgressOnlyInternetGateway",
        "AWS::EC2::NatGateway",
        "AWS::EC2::Route",
        "AWS::EC2::VPCPeeringConnection",
        "AWS::EC2::TransitGatewayAttachment",
    }
    assert not [name for name in types if name.startswith("Custom::")]


def test_should_have_an_endpoint_for_each_service_a_function_calls_and_for_no_other(stage: StageTemplate) -> None:
    names = {"cloudwatch": "monitoring"}
    called = {action.split(":")[0] for _, action, _ in function_rights(stage)}
    assert set(endpoints(stage)) == {names.get(service, service) for service in called}


def test_should_let_through_what_the_functions_may_do_and_nothing_else(stage: StageTemplate) -> None:
    admitted: set[tuple[str, str, str]] = set()
    for endpoint in endpoints(stage).values():
        for statement in endpoint["PolicyDocument"]["Statement"]:
            assert statement["Principal"] == "*", "gateways know no other; the condition names the roles"
            for role in listed(statement["Condition"]["ArnEquals"]["aws:PrincipalArn"]):
                admitted |= set(rights([statement], role["Fn::GetAtt"][0]))
    assert admitted == function_rights(stage)


def test_should_keep_the_namespace_of_the_metrics_at_the_endpoint(stage: StageTemplate) -> None:
    (statement,) = endpoints(stage)["monitoring"]["PolicyDocument"]["Statement"]
    assert statement["Condition"]["StringEquals"] == {"cloudwatch:namespace": "MedicalImaging/Pipeline"}


def test_should_reach_the_endpoints_by_https_from_the_functions_alone(stage: StageTemplate) -> None:
    functions = stage.one("AWS::EC2::SecurityGroup", "FunctionsSecurityGroup")
    assert "SecurityGroupIngress" not in functions
    (out,) = functions["SecurityGroupEgress"]
    assert (out["IpProtocol"], out["FromPort"], out["ToPort"]) == ("tcp", 443, 443)
    reached = stage.one("AWS::EC2::SecurityGroup", "EndpointsSecurityGroup")
    assert "SecurityGroupIngress" not in reached
    assert [rule["CidrIp"] for rule in reached["SecurityGroupEgress"]] == ["255.255.255.255/32"]
    ingress = stage.one("AWS::EC2::SecurityGroupIngress")
    assert (ingress["IpProtocol"], ingress["FromPort"], ingress["ToPort"]) == ("tcp", 443, 443)
    assert "EndpointsSecurityGroup" in ingress["GroupId"]["Fn::GetAtt"][0]
    assert "FunctionsSecurityGroup" in ingress["SourceSecurityGroupId"]["Fn::GetAtt"][0]
    for endpoint in endpoints(stage).values():
        if endpoint["VpcEndpointType"] == "Interface":
            assert endpoint["PrivateDnsEnabled"] is True
            assert endpoint["SecurityGroupIds"] == [ingress["GroupId"]]


@pytest.mark.parametrize("name", list(Function))
def test_should_let_lambda_attach_a_function_and_refuse_the_same_to_its_code(
    stage: StageTemplate, name: Function
) -> None:
    about = [s for s in stage.statements(stage.role(name)) if "ec2:CreateNetworkInterface" in s["Action"]]
    grant, refusal = sorted(about, key=lambda statement: str(statement["Effect"]))
    assert (grant["Effect"], refusal["Effect"]) == ("Allow", "Deny")
    assert {action for action in grant["Action"] if action.startswith("ec2:")} == NETWORK_INTERFACES
    assert set(refusal["Action"]) == NETWORK_INTERFACES
    assert (grant["Resource"], refusal["Resource"]) == ("*", "*")
    function = refusal["Condition"]["ArnEquals"]["lambda:SourceFunctionArn"]
    assert joined(function).endswith(f":function:{stage.config.name}-{name}")


def test_should_attach_no_managed_policy(stage: StageTemplate) -> None:
    for role in stage.resources("AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role["Properties"]


def test_should_wait_for_the_endpoints_before_a_function_can_run(stage: StageTemplate) -> None:
    for function in stage.resources("AWS::Lambda::Function").values():
        assert set(stage.resources("AWS::EC2::VPCEndpoint")) <= set(function["DependsOn"])


def test_should_log_every_flow_into_a_group_that_is_kept_like_the_others(stage: StageTemplate) -> None:
    flow_log = stage.one("AWS::EC2::FlowLog")
    (vpc,) = stage.resources("AWS::EC2::VPC")
    assert (flow_log["ResourceId"], flow_log["ResourceType"], flow_log["TrafficType"]) == ({"Ref": vpc}, "VPC", "ALL")
    groups = stage.resources("AWS::Logs::LogGroup")
    group = groups[flow_log["LogGroupName"]["Ref"]]
    other = groups[stage.function(Function.INGESTION)["LoggingConfig"]["LogGroup"]["Ref"]]
    assert {**group, "Properties": {**group["Properties"], "LogGroupName": ""}} == {
        **other,
        "Properties": {**other["Properties"], "LogGroupName": ""},
    }
    role = flow_log["DeliverLogsPermissionArn"]["Fn::GetAtt"][0]
    log = f"${{{flow_log['LogGroupName']['Ref']}.Arn}}"
    assert set(rights(stage.statements(role), role)) == {
        (role, action, log) for action in ("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents")
    }
    (trust,) = stage.one("AWS::IAM::Role", role)["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "vpc-flow-logs.amazonaws.com"}
    assert set(trust["Condition"]) == {"StringEquals", "ArnLike"}


def test_should_have_no_vpc_unless_the_stage_says_so(every_stage: StageTemplate) -> None:
    assert not [r for r in every_stage.json["Resources"].values() if r["Type"].startswith("AWS::EC2::")]
    assert not [f for f in every_stage.resources("AWS::Lambda::Function").values() if "VpcConfig" in f["Properties"]]
