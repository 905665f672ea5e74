"""Network: a VPC without a way out, in which the functions reach the services they call and nothing else."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network
from typing import Any, Final

from aws_cdk import ArnFormat, Aws, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from imaging_pipeline.building_blocks.observability import log_group
from imaging_pipeline.building_blocks.zones import Zone
from imaging_pipeline.stages.config import StageConfig
from imaging_pipeline.stages.setting_types import MOST_ZONES

HTTPS = ec2.Port.tcp(443)

# What the functions' code calls, by the prefix of its actions. Logs, traces and the queue's messages go by Lambda's own
# way, and S3, DynamoDB and Secrets Manager call KMS themselves, so none of these needs an endpoint.
GATEWAYS: Mapping[str, ec2.GatewayVpcEndpointAwsService] = {
    "s3": ec2.GatewayVpcEndpointAwsService.S3,
    "dynamodb": ec2.GatewayVpcEndpointAwsService.DYNAMODB,
}
INTERFACES: Mapping[str, ec2.InterfaceVpcEndpointAwsService] = {
    "states": ec2.InterfaceVpcEndpointAwsService.STEP_FUNCTIONS,
    "secretsmanager": ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
    "cloudwatch": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_MONITORING,
    "events": ec2.InterfaceVpcEndpointAwsService.EVENTBRIDGE,
}

INTERFACE_ACTIONS: Final = (
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
)
"""What Lambda does with a function's role to put it into a VPC; it takes them for all resources only."""


class Network(Construct):
    """Private subnets, an endpoint for each service that a function calls, and logs of who talked to whom.

    Attributes
    ----------
    vpc
        Has neither an internet gateway nor a NAT gateway.
    security_group
        Of the functions: out by HTTPS, and nothing in.
    endpoints
        By the prefix of the service's actions. Without them a function calls nothing.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig, cidr: str, zone: Zone) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self.vpc = self._private_vpc(cidr)
        self.security_group = self._group("Functions", "The functions")
        # The gateways' addresses have no fixed range. The subnets' route tables know these, the VPC, and nothing else.
        self.security_group.add_egress_rule(ec2.Peer.any_ipv4(), HTTPS, "To the endpoints; there is no other route")
        self.endpoints = self._gateways() | self._interfaces()
        self._log_flows(zone)

    def let_attach(self, role: iam.Role, function_name: str) -> None:
        """Let Lambda attach a function to the VPC by its role, and keep the function's code from using the same right.

        Parameters
        ----------
        role
            Of the function.
        function_name
            By its name, as the function is made of its role.
        """
        function_arn = Stack.of(self).format_arn(
            service="lambda",
            resource="function",
            resource_name=function_name,
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        actions = list(INTERFACE_ACTIONS)
        role.add_to_policy(iam.PolicyStatement(actions=actions, resources=["*"]))
        role.add_to_policy(
            iam.PolicyStatement(
                effect=iam.Effect.DENY,
                actions=actions,
                resources=["*"],
                conditions={"ArnEquals": {"lambda:SourceFunctionArn": function_arn}},
            )
        )

    def admit(self, roles: Iterable[iam.Role]) -> None:
        """Let through each endpoint what these roles may do with its service, and nobody and nothing else.

        Call it when every right has been granted.
        """
        principals: dict[tuple[str, str], list[str]] = defaultdict(list)
        for role in roles:
            for statement in _statements(role):
                for service in self.endpoints:
                    actions = [action for action in statement["Action"] if action.startswith(f"{service}:")]
                    if actions:
                        narrowed = json.dumps(statement | {"Action": actions}, sort_keys=True)
                        principals[service, narrowed].append(role.role_arn)
        for (service, narrowed), role_arns in principals.items():
            statement = json.loads(narrowed)
            admitted = iam.PolicyStatement.from_json(statement | {"Principal": "*"})
            admitted.add_condition("ArnEquals", {"aws:PrincipalArn": role_arns})
            self.endpoints[service].add_to_policy(admitted)

    def _private_vpc(self, cidr: str) -> ec2.Vpc:
        return ec2.Vpc(
            self,
            "Vpc",
            vpc_name=self._config.name,
            ip_addresses=ec2.IpAddresses.cidr(cidr),
            max_azs=MOST_ZONES,
            # Isolated subnets alone, so that there is no gateway to the internet at all. Each has an eighth of the VPC,
            # so that another zone moves none of those that are there: CloudFormation couldn't.
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name="Functions",
                    subnet_type=ec2.SubnetType.PRIVATE_ISOLATED,
                    cidr_mask=IPv4Network(cidr).prefixlen + MOST_ZONES.bit_length(),
                )
            ],
            # True would add a custom resource, and its function the right to change any security group's rules.
            restrict_default_security_group=False,
        )

    def _group(self, name: str, description: str) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(
            self,
            f"{name}SecurityGroup",
            vpc=self.vpc,
            description=description,
            allow_all_outbound=False,
        )

    def _gateways(self) -> dict[str, ec2.GatewayVpcEndpoint | ec2.InterfaceVpcEndpoint]:
        return {name: self.vpc.add_gateway_endpoint(name, service=service) for name, service in GATEWAYS.items()}

    def _interfaces(self) -> dict[str, ec2.GatewayVpcEndpoint | ec2.InterfaceVpcEndpoint]:
        group = self._group("Endpoints", "The interface endpoints")
        group.add_ingress_rule(self.security_group, HTTPS, "From the functions")
        return {
            name: self.vpc.add_interface_endpoint(
                name, service=service, security_groups=[group], open=False, private_dns_enabled=True
            )
            for name, service in INTERFACES.items()
        }

    def _log_flows(self, zone: Zone) -> None:
        """Log each flow by addresses and ports, accepted or refused. CDK's own role could also pass itself on."""
        name = f"/aws/vpc/{self._config.name}"
        group = log_group(self, "Flows", name=name, config=self._config, zone=zone)
        flow_logs = Stack.of(self).format_arn(service="ec2", resource="vpc-flow-log", resource_name="*")
        role = iam.Role(
            self,
            "FlowsRole",
            assumed_by=iam.ServicePrincipal(
                "vpc-flow-logs.amazonaws.com",
                conditions={
                    "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
                    "ArnLike": {"aws:SourceArn": flow_logs},
                },
            ),
            description=f"{self._config.name}: writes the VPC's flow logs",
        )
        writing = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
        role.add_to_policy(iam.PolicyStatement(actions=writing, resources=[group.log_group_arn]))
        flow_log = ec2.CfnFlowLog(
            self,
            "FlowLog",
            resource_id=self.vpc.vpc_id,
            resource_type="VPC",
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_group_name=group.log_group_name,
            deliver_logs_permission_arn=role.role_arn,
        )
        flow_log.node.add_dependency(role)


def _statements(role: iam.Role) -> list[dict[str, Any]]:
    """Return what a role's policy allows, with the actions of each statement as a list."""
    policy = role.node.find_child("DefaultPolicy")
    if not isinstance(policy, iam.Policy):  # pragma: no cover - CDK's name for the policy of a role's grants
        raise TypeError("the role's default policy is none")
    statements = policy.document.to_json()["Statement"]
    return [
        each | {"Action": [each["Action"]] if isinstance(each["Action"], str) else each["Action"]}
        for each in statements
        if each["Effect"] == "Allow"
    ]
