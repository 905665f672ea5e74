"""One Lambda function with all that belongs to it: role, log group, layer, variables, schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aws_cdk import AssetHashType, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from imaging_pipeline.building_blocks.dependency_layer import REPOSITORY, DependencyLayer
from imaging_pipeline.building_blocks.messaging import dead_letter_queue
from imaging_pipeline.building_blocks.network import Network
from imaging_pipeline.building_blocks.observability import log_group
from imaging_pipeline.building_blocks.runtime_code import code_version, runtime_code
from imaging_pipeline.building_blocks.zones import Zone
from imaging_pipeline.stages.config import FunctionSettings, StageConfig
from runtime.contract.names import Function, Output
from runtime.contract.variables import FunctionVariables

LATEST_MINUTES: Final = 5
"""How late a tick may be; a later one is left to the next, which does the same work."""


@dataclass(frozen=True)
class Schedule:
    """What a function does by the clock.

    Attributes
    ----------
    minutes
        Between two ticks.
    description
        Of the rule, in the console.
    """

    minutes: int
    description: str


class FunctionPlatform(Construct):
    """What the functions of a stage share: code, layers, the VPC, and where ticks wait that none was given.

    Attributes
    ----------
    config
        The stage.
    network
        In which the functions run; none where the stage has no VPC.
    code
        Of every function.
    code_version
        By which the audit log names it.
    schedule_dead_letters
        Ticks of the schedules that their function could not be given.
    functions
        Those that were made, by name.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: StageConfig, zone: Zone, network: Network | None
    ) -> None:
        super().__init__(scope, construct_id)
        self.config = config
        self.network = network
        self.code = runtime_code()
        self.code_version = code_version()
        self.schedule_dead_letters = dead_letter_queue(self, "schedule", config=config, zone=zone, senders=("events",))
        self.functions: dict[Function, PipelineFunction] = {}
        self._layers: dict[str, lambda_.LayerVersion] = {}

    @property
    def outputs(self) -> Mapping[Output, str]:
        """What a stage publishes of this."""
        return {Output.SCHEDULE_DEAD_LETTERS_URL: self.schedule_dead_letters.queue_url}

    def layer(self, settings: FunctionSettings) -> lambda_.LayerVersion:
        """Return the dependencies for a function's Python version and architecture, one layer for each such pair."""
        platform = f"{settings.python_version}-{settings.architecture}"
        if platform not in self._layers:
            layer = DependencyLayer(settings, native=self.config.runs_on_this_machine)
            folder = layer.build() if Stack.of(self).bundling_required else REPOSITORY / "runtime"
            self._layers[platform] = lambda_.LayerVersion(
                self,
                f"Dependencies{len(self._layers) or ''}",
                layer_version_name=f"{self.config.name}-dependencies-{platform.replace('.', '')}",
                code=lambda_.Code.from_asset(
                    str(folder), asset_hash=layer.content_hash, asset_hash_type=AssetHashType.CUSTOM
                ),
                compatible_runtimes=[_python(settings)],
                compatible_architectures=[_architecture(settings)],
            )
        return self._layers[platform]


class PipelineFunction(Construct):
    """A function of the pipeline, whose handler is the module of its name in `runtime.handlers`.

    Parameters
    ----------
    platform
        What it shares with the others.
    name
        Of the function; the construct's id, too.
    zone
        Whose key encrypts its log.
    model
        Of its environment variables.
    variables
        Their values, but for those that every function has.
    schedule
        When it runs by itself; none: something else invokes it.

    Attributes
    ----------
    name
        As given.
    function
        The Lambda function.
    role
        What it may do.
    log_group
        `/aws/lambda/<stack>-<function>`.
    """

    def __init__(
        self,
        scope: Construct,
        *,
        platform: FunctionPlatform,
        name: Function,
        zone: Zone,
        model: type[FunctionVariables],
        variables: Mapping[str, object],
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__(scope, name.capitalize())
        config, network = platform.config, platform.network
        settings = config.functions[name]
        self.name = name
        function_name = f"{config.name}-{name}"
        self.log_group = log_group(self, "Logs", name=f"/aws/lambda/{function_name}", config=config, zone=zone)
        self.role = self._role(function_name)
        if network:
            network.let_attach(self.role, function_name)
        common = {
            "STAGE": config.stage,
            "POWERTOOLS_SERVICE_NAME": function_name,
            "POWERTOOLS_TRACE_DISABLED": not config.xray,
        }
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=function_name,
            runtime=_python(settings),
            architecture=_architecture(settings),
            code=platform.code,
            handler=f"runtime.handlers.{name}.handler",
            layers=[platform.layer(settings)],
            role=self.role,
            vpc=network.vpc if network else None,
            security_groups=[network.security_group] if network else None,
            memory_size=settings.memory_mb,
            timeout=Duration.seconds(settings.timeout_seconds),
            environment=_texts(model.model_validate({**common, **variables})),
            log_group=self.log_group,
            reserved_concurrent_executions=settings.reserved_concurrency,
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            system_log_level_v2=lambda_.SystemLogLevel.INFO,
            tracing=lambda_.Tracing.ACTIVE if config.xray else lambda_.Tracing.DISABLED,
        )
        if network:
            self.function.node.add_dependency(*network.endpoints.values())
        if schedule:
            self._run(schedule, platform)
        platform.functions[name] = self

    def allow(self, actions: list[str], resource: str) -> None:
        """Allow the function these actions on a resource."""
        self.role.add_to_policy(iam.PolicyStatement(actions=actions, resources=[resource]))

    def _role(self, function_name: str) -> iam.Role:
        account = {"StringEquals": {"aws:SourceAccount": Stack.of(self).account}}
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com", conditions=account),
            description=f"{function_name.removesuffix(f'-{self.name}')}: what the {self.name} function may do",
        )
        self.log_group.grant_write(role)
        return role

    def _run(self, schedule: Schedule, platform: FunctionPlatform) -> None:
        """Invoke the function by a rule of its name, by which a tick among the dead letters tells its function.

        Only a tick that the function was never given becomes a dead letter, since nothing else tells of it. Of one
        that it failed on its alarms tell, once, where a lasting fault would leave a dead letter a tick.
        """
        latest = Duration.minutes(min(schedule.minutes, LATEST_MINUTES))
        self.function.configure_async_invoke(retry_attempts=0, max_event_age=latest)
        target = targets.LambdaFunction(
            self.function, dead_letter_queue=platform.schedule_dead_letters, max_event_age=latest, retry_attempts=2
        )
        events.Rule(
            self,
            "Schedule",
            rule_name=f"{platform.config.name}-{self.name}",
            description=schedule.description,
            schedule=events.Schedule.rate(Duration.minutes(schedule.minutes)),
            targets=[target],
        )


def _python(settings: FunctionSettings) -> lambda_.Runtime:
    return lambda_.Runtime(f"python{settings.python_version}", lambda_.RuntimeFamily.PYTHON)


def _architecture(settings: FunctionSettings) -> lambda_.Architecture:
    return lambda_.Architecture.ARM_64 if settings.architecture == "arm64" else lambda_.Architecture.X86_64


def _texts(variables: FunctionVariables) -> dict[str, str]:
    """Return variables as the texts that the model reads them from."""
    values = variables.model_dump(mode="json", round_trip=True).items()
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values}
