"""The Lambda functions: one role each with only what it needs, one layer for a platform, one log group each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from string import ascii_letters, punctuation

from aws_cdk import ArnFormat, AssetHashType, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from imaging_pipeline.building_blocks.dependency_layer import REPOSITORY, DependencyLayer
from imaging_pipeline.building_blocks.log_groups import log_group
from imaging_pipeline.building_blocks.queues import dead_letter_queue
from imaging_pipeline.building_blocks.runtime_code import code_version, runtime_code
from imaging_pipeline.building_blocks.zones import MESSAGES, Zones
from imaging_pipeline.dicom_buckets import DicomBuckets
from imaging_pipeline.operations.network import Network
from imaging_pipeline.phi.audit import AuditTable
from imaging_pipeline.phi.ledger import Ledger
from imaging_pipeline.phi.verdict_states import publishing_metrics
from imaging_pipeline.replica_stack import ReplicaStack
from imaging_pipeline.stages.config import FunctionSettings, StageConfig
from runtime.contract.ledger import LedgerIndex
from runtime.contract.names import Function, Output
from runtime.contract.variables import (
    CompletenessVariables,
    DeidentificationVariables,
    DispatcherVariables,
    FunctionVariables,
    IngestionVariables,
    ReconciliationVariables,
    ReplayVariables,
    ValidationVariables,
)

PSEUDONYM_KEY_BITS = 256
STARTING = (Function.DISPATCHER, Function.RECONCILIATION, Function.REPLAY)
READING = (Function.DISPATCHER, Function.INGESTION, Function.VALIDATION, Function.DEIDENTIFICATION)

LEDGER_ACTIONS: Mapping[Function, tuple[str, ...]] = {
    Function.DISPATCHER: ("GetItem", "UpdateItem"),
    Function.INGESTION: ("UpdateItem",),
    Function.DEIDENTIFICATION: ("GetItem", "UpdateItem"),
    Function.REPLAY: ("GetItem", "UpdateItem"),
    Function.RECONCILIATION: ("BatchGetItem", "GetItem", "UpdateItem"),
}


class PipelineFunctions(Construct):
    """The steps of the processing workflow, the dispatcher before them, and the checks and replays around them.

    Attributes
    ----------
    functions
        The Lambda functions.
    roles
        Their roles, one each.
    log_groups
        Their log groups, `/aws/lambda/<stack>-<function>`.
    code_version
        Of what runs in them.
    schedule_dead_letters
        Ticks of the schedules that their function could not be given.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: StageConfig,
        buckets: DicomBuckets,
        ledger: Ledger,
        audit: AuditTable,
        bus: events.EventBus,
        zones: Zones,
        replica: ReplicaStack | None,
        network: Network | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self._network = network
        self._buckets = buckets
        self._ledger = ledger
        self._audit = audit
        self._bus = bus
        self._zones = zones
        self.schedule_dead_letters = dead_letter_queue(
            self, "schedule", config=config, zone=zones.phi, senders=("events",)
        )
        self._layers: dict[str, lambda_.LayerVersion] = {}
        self._code = runtime_code()
        self.code_version = code_version()
        pseudonym_key = self._pseudonym_key(replica)
        self.log_groups: Mapping[Function, logs.LogGroup] = {
            name: log_group(
                self,
                f"{name.capitalize()}Logs",
                name=f"/aws/lambda/{config.name}-{name}",
                config=config,
                zone=zones.phi,
            )
            for name in Function
        }
        self.roles: Mapping[Function, iam.Role] = {name: self._role(name) for name in Function}
        self._state_machine_arn = _workflow_arn(self, "stateMachine", config.workflow_name)
        variables = self._variables(pseudonym_key)
        self.functions: Mapping[Function, lambda_.Function] = {
            name: self._function(name, variables[name]) for name in Function
        }
        self._grant_reading(buckets.raw)
        self._grant_releasing(buckets, pseudonym_key)
        self._grant_starting(buckets.raw)
        self._grant_checking(buckets.processed)
        for name, actions in LEDGER_ACTIONS.items():
            ledger.allow(self.functions[name], *actions)
        for index in (LedgerIndex.IN_WORK, LedgerIndex.BY_VERDICT):
            ledger.allow_query(self.functions[Function.RECONCILIATION], index)
        ledger.allow_announcing(self.functions[Function.COMPLETENESS])
        audit.allow_recording(self.functions[Function.DISPATCHER])

    @property
    def outputs(self) -> Mapping[Output, str]:
        """What a stage publishes of this."""
        return {
            Output.INGESTION_LOG_GROUP_NAME: self.log_groups[Function.INGESTION].log_group_name,
            Output.VALIDATION_LOG_GROUP_NAME: self.log_groups[Function.VALIDATION].log_group_name,
            Output.DEIDENTIFICATION_LOG_GROUP_NAME: self.log_groups[Function.DEIDENTIFICATION].log_group_name,
            Output.SCHEDULE_DEAD_LETTERS_URL: self.schedule_dead_letters.queue_url,
        }

    def _variables(self, pseudonym_key: secretsmanager.ISecret) -> Mapping[Function, FunctionVariables]:
        config, buckets = self._config, self._buckets
        ledger = {"LEDGER_TABLE": self._ledger.table.table_name}
        retaining = ledger | {"LEDGER_RETENTION_DAYS": config.ledger_retention_days or 0}
        starting = retaining | {
            "STATE_MACHINE_ARN": self._state_machine_arn,
            "ACCEPTED_PREFIXES": json.dumps(config.accepted_prefixes),
            "ACCEPTED_SUFFIXES": json.dumps(config.accepted_suffixes),
        }
        processed = {"PROCESSED_BUCKET": buckets.processed.bucket_name}
        models: Mapping[Function, tuple[type[FunctionVariables], Mapping[str, object]]] = {
            Function.INGESTION: (IngestionVariables, ledger),
            Function.VALIDATION: (ValidationVariables, {"STRICT": config.strict}),
            Function.DEIDENTIFICATION: (
                DeidentificationVariables,
                retaining | processed | {"PSEUDONYM_SECRET_ARN": pseudonym_key.secret_arn, "PROFILE": config.profile},
            ),
            Function.DISPATCHER: (
                DispatcherVariables,
                starting | {"AUDIT_TABLE": self._audit.table.table_name, "CODE_VERSION": self.code_version},
            ),
            Function.REPLAY: (ReplayVariables, starting),
            Function.RECONCILIATION: (
                ReconciliationVariables,
                starting
                | processed
                | {
                    "RAW_BUCKET": buckets.raw.bucket_name,
                    "STUCK_AFTER_SECONDS": config.stuck_after_seconds,
                    "PROCESSED_RETENTION_DAYS": config.processed_retention_days or 0,
                    "TIMEOUT_SECONDS": config.functions[Function.RECONCILIATION].timeout_seconds,
                },
            ),
            Function.COMPLETENESS: (
                CompletenessVariables,
                ledger
                | processed
                | {"EVENT_BUS_NAME": self._bus.event_bus_name, "STUDY_QUIET_SECONDS": config.study_quiet_seconds},
            ),
        }
        return {
            name: model.model_validate(
                {
                    "STAGE": config.stage,
                    "POWERTOOLS_SERVICE_NAME": f"{config.name}-{name}",
                    "POWERTOOLS_TRACE_DISABLED": not config.xray,
                    **values,
                }
            )
            for name, (model, values) in models.items()
        }

    def _role(self, name: Function) -> iam.Role:
        role = iam.Role(
            self,
            f"{name.capitalize()}Role",
            assumed_by=iam.ServicePrincipal(
                "lambda.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}}
            ),
            description=f"{self._config.name}: what the {name} function may do",
        )
        self.log_groups[name].grant_write(role)
        if self._network:
            self._network.let_attach(role, f"{self._config.name}-{name}")
        return role

    def _function(self, name: Function, variables: FunctionVariables) -> lambda_.Function:
        settings = self._config.functions[name]
        function = lambda_.Function(
            self,
            name.capitalize(),
            function_name=f"{self._config.name}-{name}",
            runtime=lambda_.Runtime(f"python{settings.python_version}", lambda_.RuntimeFamily.PYTHON),
            architecture=_architecture(settings),
            code=self._code,
            handler=f"runtime.handlers.{name}.handler",
            layers=[self._layer(settings)],
            role=self.roles[name],
            vpc=self._network.vpc if self._network else None,
            security_groups=[self._network.security_group] if self._network else None,
            memory_size=settings.memory_mb,
            timeout=Duration.seconds(settings.timeout_seconds),
            environment=_texts(variables),
            log_group=self.log_groups[name],
            reserved_concurrent_executions=settings.reserved_concurrency,
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            system_log_level_v2=lambda_.SystemLogLevel.INFO,
            tracing=lambda_.Tracing.ACTIVE if self._config.xray else lambda_.Tracing.DISABLED,
        )
        if self._network:
            function.node.add_dependency(*self._network.endpoints.values())
        return function

    def _layer(self, settings: FunctionSettings) -> lambda_.LayerVersion:
        platform = f"{settings.python_version}-{settings.architecture}"
        if platform not in self._layers:
            layer = DependencyLayer(settings, native=self._config.runs_on_this_machine)
            folder = layer.build() if Stack.of(self).bundling_required else REPOSITORY / "runtime"
            self._layers[platform] = lambda_.LayerVersion(
                self,
                f"Dependencies{len(self._layers) or ''}",
                layer_version_name=f"{self._config.name}-dependencies-{platform.replace('.', '')}",
                code=lambda_.Code.from_asset(
                    str(folder), asset_hash=layer.content_hash, asset_hash_type=AssetHashType.CUSTOM
                ),
                compatible_runtimes=[lambda_.Runtime(f"python{settings.python_version}", lambda_.RuntimeFamily.PYTHON)],
                compatible_architectures=[_architecture(settings)],
            )
        return self._layers[platform]

    def _pseudonym_key(self, replica: ReplicaStack | None) -> secretsmanager.ISecret:
        """256 random bits as 64 hexadecimal digits. Losing them would tear later studies from earlier ones."""
        if self._config.pseudonym_key_arn:
            return secretsmanager.Secret.from_secret_complete_arn(self, "PseudonymKey", self._config.pseudonym_key_arn)
        return secretsmanager.Secret(
            self,
            "PseudonymKey",
            secret_name=f"{self._config.name}/pseudonym-key",
            description="Key of the pseudonyms and date shifts that de-identification writes",
            encryption_key=self._zones.phi.key,
            generate_secret_string=secretsmanager.SecretStringGenerator(
                password_length=PSEUDONYM_KEY_BITS // 4,
                # By character, not by type: the emulator knows no types.
                exclude_characters="".join(sorted(set(ascii_letters + punctuation) - set("abcdef"))),
                require_each_included_type=False,
            ),
            replica_regions=[secretsmanager.ReplicaRegion(region=replica.region, encryption_key=replica.zones.phi.key)]
            if replica
            else None,
            removal_policy=self._config.removal_policy,
        )

    def _grant_reading(self, raw: s3.Bucket) -> None:
        """Read versions of raw objects; without its version, none."""
        for function in (self.functions[name] for name in READING):
            _allow(function, ["s3:GetObjectVersion"], raw.arn_for_objects("*"))
            # Only to who may list does S3 say that an object is gone; to others, that access is denied.
            _allow(function, ["s3:ListBucket"], raw.bucket_arn)
            self._zones.phi.allow(function, "Decrypt", via="s3")

    def _grant_starting(self, raw: s3.Bucket) -> None:
        """Start executions, for which the version is looked up where an event or a listing names none."""
        for function in (self.functions[name] for name in STARTING):
            _allow(function, ["states:StartExecution"], self._state_machine_arn)
            if self._config.workflow_type == "STANDARD":  # whose names stay taken, maybe by an execution that ended
                executions = _workflow_arn(self, "execution", f"{self._config.workflow_name}:*")
                _allow(function, ["states:DescribeExecution"], executions)
            _allow(function, ["s3:ListBucketVersions"], raw.bucket_arn)
            # An execution's input is encrypted when it starts.
            self._zones.phi.allow(function, *MESSAGES, via="states")
        for name in (Function.DISPATCHER, Function.RECONCILIATION):
            self.functions[name].add_to_role_policy(publishing_metrics())

    def _grant_checking(self, processed: s3.Bucket) -> None:
        """Reconciliation looks which results are there; completeness writes manifests, and reads no raw object."""
        reconciliation, completeness = (
            self.functions[name] for name in (Function.RECONCILIATION, Function.COMPLETENESS)
        )
        _allow(reconciliation, ["s3:ListBucket"], processed.bucket_arn)
        _allow(completeness, ["s3:PutObject"], processed.arn_for_objects("*/manifest-*.jsonl"))
        self._zones.research.allow(completeness, "GenerateDataKey", via="s3")
        self._bus.grant_put_events_to(completeness)

    def _grant_releasing(self, buckets: DicomBuckets, pseudonym_key: secretsmanager.ISecret) -> None:
        """De-identification alone holds the key, writes to the research zone, and checks the versions it wrote."""
        function = self.functions[Function.DEIDENTIFICATION]
        _allow(
            function,
            ["s3:PutObject", "s3:AbortMultipartUpload", "s3:GetObject", "s3:GetObjectVersion"],
            buckets.processed.arn_for_objects("*"),
        )
        # Whether a result is there: without this right a missing one looks like a forbidden one.
        _allow(function, ["s3:ListBucket"], buckets.processed.bucket_arn)
        # Completing a multipart upload decrypts its parts.
        self._zones.research.allow(function, "Decrypt", "GenerateDataKey", via="s3")
        _allow(function, ["secretsmanager:GetSecretValue"], _arn(pseudonym_key))
        self._zones.phi.allow(function, "Decrypt", via="secretsmanager")


def _workflow_arn(scope: Construct, resource: str, name: str) -> str:
    """ARN of the processing workflow or its executions, by name: the workflow itself is made of these functions."""
    return Stack.of(scope).format_arn(
        service="states", resource=resource, resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME
    )


def _arn(secret: secretsmanager.ISecret) -> str:
    """ARN of a secret; of the stack's own by its attribute, since the emulator's reference to a secret is its name."""
    resource = secret.node.default_child
    return resource.attr_id if isinstance(resource, secretsmanager.CfnSecret) else secret.secret_arn


def _allow(function: lambda_.Function, actions: list[str], resource: str) -> None:
    function.add_to_role_policy(iam.PolicyStatement(actions=actions, resources=[resource]))


def _architecture(settings: FunctionSettings) -> lambda_.Architecture:
    return lambda_.Architecture.ARM_64 if settings.architecture == "arm64" else lambda_.Architecture.X86_64


def _texts(variables: FunctionVariables) -> dict[str, str]:
    """Variables as the texts that the model reads them from."""
    values = variables.model_dump(mode="json", round_trip=True).items()
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values}
