"""The Lambda functions: one role each with only what it needs, one layer for a platform, one log group each."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_letters, punctuation

from aws_cdk import AssetHashType, Duration, IgnoreMode, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from imaging_pipeline.dependency_layer import REPOSITORY, DependencyLayer
from imaging_pipeline.dicom_buckets import DicomBuckets
from imaging_pipeline.stages import FunctionSettings, StageConfig
from runtime.contract import (
    DeidentificationVariables,
    Function,
    FunctionVariables,
    IngestionVariables,
    ValidationVariables,
)

PSEUDONYM_KEY_BITS = 256


class PipelineFunctions(Construct):
    """Ingestion, validation and de-identification.

    Attributes
    ----------
    functions
        The Lambda functions.
    log_groups
        Their log groups, `/aws/lambda/<stack>-<function>`.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: StageConfig, buckets: DicomBuckets) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self._layers: dict[str, lambda_.LayerVersion] = {}
        # Only the package `runtime`, under its own name, so that imports read the same here and there.
        self._code = lambda_.Code.from_asset(
            str(REPOSITORY),
            exclude=["/*", "!/runtime", "/runtime/requirements.*", "__pycache__"],
            ignore_mode=IgnoreMode.GIT,
        )
        pseudonym_key = self._pseudonym_key()
        self.log_groups: Mapping[Function, logs.LogGroup] = {name: self._log_group(name) for name in Function}
        variables = _variables(config, buckets, pseudonym_key)
        self.functions: Mapping[Function, lambda_.Function] = {
            name: self._function(name, variables[name]) for name in Function
        }
        self._grant_reading(buckets.raw)
        self._grant_releasing(buckets, pseudonym_key)

    def _function(self, name: Function, variables: FunctionVariables) -> lambda_.Function:
        settings = self._config.functions[name]
        role = iam.Role(
            self,
            f"{name.capitalize()}Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"{self._config.name}: what the {name} function may do",
        )
        self.log_groups[name].grant_write(role)
        return lambda_.Function(
            self,
            name.capitalize(),
            function_name=f"{self._config.name}-{name}",
            runtime=lambda_.Runtime(f"python{settings.python_version}", lambda_.RuntimeFamily.PYTHON),
            architecture=_architecture(settings),
            code=self._code,
            handler=f"runtime.handlers.{name}.handler",
            layers=[self._layer(settings)],
            role=role,
            memory_size=settings.memory_mb,
            timeout=Duration.seconds(settings.timeout_seconds),
            environment={key: _text(value) for key, value in variables.model_dump(mode="json").items()},
            log_group=self.log_groups[name],
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            system_log_level_v2=lambda_.SystemLogLevel.INFO,
            tracing=lambda_.Tracing.ACTIVE,
        )

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

    def _log_group(self, name: Function) -> logs.LogGroup:
        return logs.LogGroup(
            self,
            f"{name.capitalize()}Logs",
            log_group_name=f"/aws/lambda/{self._config.name}-{name}",
            retention=self._config.log_retention,
            removal_policy=self._config.removal_policy,
        )

    def _pseudonym_key(self) -> secretsmanager.Secret:
        """256 random bits as 64 hexadecimal digits. Losing them would tear later studies from earlier ones."""
        return secretsmanager.Secret(
            self,
            "PseudonymKey",
            secret_name=f"{self._config.name}/pseudonym-key",
            description="Key of the pseudonyms and date shifts that de-identification writes",
            generate_secret_string=secretsmanager.SecretStringGenerator(
                password_length=PSEUDONYM_KEY_BITS // 4,
                # By character, not by type: the emulator knows no types.
                exclude_characters="".join(sorted(set(ascii_letters + punctuation) - set("abcdef"))),
                require_each_included_type=False,
            ),
            removal_policy=self._config.removal_policy,
        )

    def _grant_reading(self, raw: s3.Bucket) -> None:
        """Every function reads versions of raw objects; ingestion also finds the version where an event names none."""
        for function in self.functions.values():
            _allow(function, ["s3:GetObject", "s3:GetObjectVersion"], raw.arn_for_objects("*"))
            # Only to who may list does S3 say that an object is gone; to others, that access is denied.
            _allow(function, ["s3:ListBucket"], raw.bucket_arn)
            if raw.encryption_key:
                raw.encryption_key.grant_decrypt(function)
        _allow(self.functions[Function.INGESTION], ["s3:ListBucketVersions"], raw.bucket_arn)

    def _grant_releasing(self, buckets: DicomBuckets, pseudonym_key: secretsmanager.Secret) -> None:
        """De-identification alone holds the key, writes to the research zone, and checks the versions it wrote."""
        function = self.functions[Function.DEIDENTIFICATION]
        _allow(
            function,
            ["s3:PutObject", "s3:AbortMultipartUpload", "s3:GetObject", "s3:GetObjectVersion"],
            buckets.processed.arn_for_objects("*"),
        )
        if buckets.processed.encryption_key:
            # Completing a multipart upload decrypts its parts.
            buckets.processed.encryption_key.grant_encrypt_decrypt(function)
        _allow(function, ["secretsmanager:GetSecretValue"], pseudonym_key.secret_arn)


def _variables(
    config: StageConfig, buckets: DicomBuckets, pseudonym_key: secretsmanager.Secret
) -> Mapping[Function, FunctionVariables]:
    def named(function: Function) -> dict[str, str]:
        return {"STAGE": config.stage, "POWERTOOLS_SERVICE_NAME": f"{config.name}-{function}"}

    return {
        Function.INGESTION: IngestionVariables(**named(Function.INGESTION)),
        Function.VALIDATION: ValidationVariables(**named(Function.VALIDATION), STRICT=config.strict),
        Function.DEIDENTIFICATION: DeidentificationVariables(
            **named(Function.DEIDENTIFICATION),
            PROCESSED_BUCKET=buckets.processed.bucket_name,
            PSEUDONYM_SECRET_ARN=pseudonym_key.secret_arn,
            PROFILE=config.profile,
        ),
    }


def _allow(function: lambda_.Function, actions: list[str], resource: str) -> None:
    function.add_to_role_policy(iam.PolicyStatement(actions=actions, resources=[resource]))


def _architecture(settings: FunctionSettings) -> lambda_.Architecture:
    return lambda_.Architecture.ARM_64 if settings.architecture == "arm64" else lambda_.Architecture.X86_64


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
