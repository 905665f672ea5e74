"""The two zones, and who may use the key of each: every right to a key is written here or asked for through here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from imaging_pipeline.stages.config import StageConfig

WAIT_BEFORE_DELETION = Duration.days(30)

PHI_SERVICES: Final = ("dynamodb", "logs", "s3", "secretsmanager", "sns", "sqs", "states")
RESEARCH_SERVICES: Final = ("dynamodb", "events", "s3", "sns")

ADMINISTRATION: Final = (
    "CancelKeyDeletion",
    "CreateAlias",
    "DeleteAlias",
    "DescribeKey",
    "DisableKey",
    "EnableKey",
    "EnableKeyRotation",
    "GetKeyPolicy",
    "GetKeyRotationStatus",
    "ListGrants",
    "ListKeyPolicies",
    "ListKeyRotations",
    "ListResourceTags",
    "PutKeyPolicy",
    "RevokeGrant",
    "RotateKeyOnDemand",
    "ScheduleKeyDeletion",
    "TagResource",
    "UntagResource",
    "UpdateAlias",
    "UpdateKeyDescription",
)
"""Whatever keeps a key in order. None of it encrypts, decrypts, or hands either on by a grant."""

USE: Final = (
    "Decrypt",
    "DescribeKey",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
)
"""What a service that stores data may ask of a key ("DynamoDB encryption at rest", "Encrypt log data in CloudWatch
Logs using AWS Key Management Service")."""

MESSAGES: Final = ("Decrypt", "GenerateDataKey")
"""What sending to a queue, a topic or a bus takes ("Amazon SQS Key management", "Amazon SNS Key management")."""


class Zone(Construct):
    """What shares one key, where the stage has keys of its own.

    The account's IAM policies decide who of the account may use the key, but only through the zone's services, so that
    the key alone opens nothing; by KMS itself it opens the histories of workflows only. AWS's services are let in one
    by one, each for one resource.

    Attributes
    ----------
    key
        Encrypts the zone at rest; none where the services' own keys do. It is known to CDK by its ARN only, so that
        CDK's constructs can't add to its policy.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig, services: tuple[str, ...]) -> None:
        super().__init__(scope, construct_id)
        self.key: kms.IKey | None = None
        if config.encryption == "aes256":
            return
        self._policy = iam.PolicyDocument()
        key = kms.Key(
            self,
            "Key",
            alias=f"{Stack.of(self).stack_name}-{construct_id.lower()}",
            description=f"{config.name}: encrypts the {construct_id} zone",
            policy=self._policy,
            enable_key_rotation=True,
            pending_window=WAIT_BEFORE_DELETION,
            removal_policy=config.removal_policy,
        )
        self.key = kms.Key.from_key_arn(self, "KeyByArn", key.key_arn)
        self._delegate(ADMINISTRATION)
        via = [self._service(service) for service in services]
        self._delegate(USE, {"StringEquals": {"kms:ViaService": via}})
        if "dynamodb" in services:
            # By grants, which it makes when a table gets its key, DynamoDB keeps working on table and backups.
            self._delegate(("CreateGrant",), {"StringEquals": {"kms:ViaService": self._service("dynamodb")}})

    def allow(self, grantee: iam.IGrantable, *actions: str, via: str) -> None:
        """Allow a role to use the key through a service, as `allow(function, "Decrypt", via="s3")`."""
        if self.key:
            statement = iam.PolicyStatement(
                actions=_kms(actions),
                resources=[self.key.key_arn],
                conditions={"StringEquals": {"kms:ViaService": self._service(via)}},
            )
            grantee.grant_principal.add_to_principal_policy(statement)

    def admit(self, service: str, *actions: str, when: Mapping[str, str]) -> None:
        """Let one of AWS's services use the key of itself, where the request says `when`.

        Parameters
        ----------
        service
            The service principal.
        actions
            Of KMS, without their prefix.
        when
            What must hold, by condition key: the encryption context names the resource that is written. Write ARNs
            by name: what is encrypted by the key can't be referred to by its policy.
        """
        if self.key:
            principal = iam.ServicePrincipal(service)
            self._state(principal, actions, {"StringEquals": dict(when)})

    def admit_sender(self, service: str, *, queue: str) -> None:
        """Let a service send to a queue of this name; the queue's policy says for which resource.

        "Amazon SQS Key management" names the encryption context, and no service that also says to KMS for whose
        resource it sends: a bound that KMS can't check would lose every message.
        """
        arn = Stack.of(self).format_arn(service="sqs", resource=queue)
        self.admit(f"{service}.amazonaws.com", *MESSAGES, when={"kms:EncryptionContext:aws:sqs:arn": arn})

    def admit_publisher(self, service: str, *, topic: str) -> None:
        """Let a service publish to a topic of this name; the topic's policy says whose rules or alarms.

        "Amazon SNS Key management": EventBridge gives KMS neither `aws:SourceAccount` nor `aws:SourceArn` where it
        publishes to a topic, so that the encryption context alone bounds it, and every other service alike.
        """
        arn = Stack.of(self).format_arn(service="sns", resource=topic)
        self.admit(f"{service}.amazonaws.com", *MESSAGES, when={"kms:EncryptionContext:aws:sns:topicArn": arn})

    def admit_logs(self, log_group: str) -> None:
        """Let CloudWatch Logs encrypt a group of this name ("Encrypt log data in CloudWatch Logs using AWS KMS")."""
        arn = Stack.of(self).format_arn(
            service="logs",
            resource="log-group",
            resource_name=log_group,
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        self.admit(self._service("logs"), *USE, when={"kms:EncryptionContext:aws:logs:arn": arn})

    def admit_bus(self, bus: str) -> None:
        """Let EventBridge encrypt what is on a bus of this name; who puts events there needs no right to the key.

        "Authorizing EventBridge to use a customer managed key".
        """
        stack = Stack.of(self)
        arn = stack.format_arn(service="events", resource="event-bus", resource_name=bus)
        source = {"aws:SourceAccount": stack.account, "aws:SourceArn": arn}
        self.admit("events.amazonaws.com", "DescribeKey", when=source)
        self.admit(
            "events.amazonaws.com", *MESSAGES, when={**source, "kms:EncryptionContext:aws:events:event-bus:arn": arn}
        )

    def workflow_encryption(self, state_machine: str) -> sfn.EncryptionConfiguration | None:
        """Return how a state machine of this name encrypts definition and history, and let it do so.

        "Data at rest encryption in Step Functions": the machine's role uses the key itself and not through a service,
        and the delivery of its logs decrypts what the role encrypted for it. CDK gives the role's policy these rights.
        """
        if not self.key:
            return None
        stack = Stack.of(self)
        arn = stack.format_arn(
            service="states",
            resource="stateMachine",
            resource_name=state_machine,
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        self._delegate(MESSAGES, {"StringEquals": {"kms:EncryptionContext:aws:states:stateMachineArn": arn}})
        # The context's value is this text, star included.
        logs = stack.format_arn(service="logs", resource="*", arn_format=ArnFormat.NO_RESOURCE_NAME)
        delivery = {"kms:EncryptionContext:SourceArn": logs}
        self._delegate(("GenerateDataKey",), {"StringEquals": delivery})
        self.admit("delivery.logs.amazonaws.com", "Decrypt", when=delivery)
        return sfn.CustomerManagedEncryptionConfiguration(self.key)

    def _service(self, name: str) -> str:
        return f"{name}.{Stack.of(self).region}.amazonaws.com"

    def _delegate(self, actions: tuple[str, ...], conditions: Mapping[str, object] | None = None) -> None:
        """Leave it to the account's IAM policies who may do this."""
        self._state(iam.AccountRootPrincipal(), actions, conditions or {})

    def _state(self, principal: iam.IPrincipal, actions: tuple[str, ...], conditions: Mapping[str, object]) -> None:
        self._policy.add_statements(
            iam.PolicyStatement(
                principals=[principal], actions=_kms(actions), resources=["*"], conditions=dict(conditions)
            )
        )


class Zones(Construct):
    """The zones of a stage: they share no role, no key and no log.

    Attributes
    ----------
    phi
        Raw objects, ledger, queues, the pseudonym key, workflow history, logs, and what operators are told.
    research
        Processed objects, who got links to them, the event bus, and what researchers are told.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig) -> None:
        super().__init__(scope, construct_id)
        self.phi = Zone(self, "PHI", config=config, services=PHI_SERVICES)
        self.research = Zone(self, "Research", config=config, services=RESEARCH_SERVICES)


def _kms(actions: tuple[str, ...]) -> list[str]:
    return [f"kms:{action}" for action in actions]
