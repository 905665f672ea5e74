"""The functions: platform, size, logs, and what each role may do."""

from __future__ import annotations

import json
import string

import pytest

from runtime.contract.names import Function
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
from tests.infrastructure.conftest import StageTemplate, joined

each_function = pytest.mark.parametrize("name", list(Function))


def rights(stage: StageTemplate, name: str) -> set[tuple[str, str]]:
    """Pairs of action and resource that a function's role may use; `test_zones` judges those on keys."""
    pairs = set()
    for statement in stage.statements(stage.role(name)):
        assert statement["Effect"] == "Allow"
        actions, resources = (
            value if isinstance(value, list) else [value] for value in (statement["Action"], statement["Resource"])
        )
        pairs |= {(action, joined(resource)) for action in actions for resource in resources}
    return {(action, resource) for action, resource in pairs if not action.startswith("kms:")}


def common_rights(stage: StageTemplate, name: str) -> set[tuple[str, str]]:
    """What every function may do: write its own log and send traces."""
    log = stage.function(name)["LoggingConfig"]["LogGroup"]["Ref"]
    return {
        ("logs:CreateLogStream", f"${{{log}.Arn}}"),
        ("logs:PutLogEvents", f"${{{log}.Arn}}"),
        ("xray:PutTelemetryRecords", "*"),
        ("xray:PutTraceSegments", "*"),
    }


def reading_rights(stage: StageTemplate) -> set[tuple[str, str]]:
    """Read raw objects, or learn that they are gone."""
    (raw,) = [key for key in stage.resources("AWS::S3::Bucket") if "Raw" in key]
    return {("s3:GetObjectVersion", f"${{{raw}.Arn}}/*"), ("s3:ListBucket", f"${{{raw}.Arn}}")}


def ledger_rights(stage: StageTemplate, *actions: str, indexes: tuple[str, ...] = ()) -> set[tuple[str, str]]:
    """Actions on the ledger's items, and to query its indexes."""
    (table,) = [key for key in stage.resources("AWS::DynamoDB::Table") if key.startswith("LedgerTable")]
    items = {(f"dynamodb:{action}", f"${{{table}.Arn}}") for action in actions}
    return items | {("dynamodb:Query", f"${{{table}.Arn}}/index/{index}") for index in indexes}


def recording_rights(stage: StageTemplate) -> set[tuple[str, str]]:
    """Add to the audit log of the PHI zone."""
    (table,) = [key for key in stage.resources("AWS::DynamoDB::Table") if key.startswith("AuditTable")]
    return {("dynamodb:PartiQLInsert", f"${{{table}.Arn}}")}


def starting_rights(stage: StageTemplate) -> set[tuple[str, str]]:
    """Start executions of the processing workflow, and look up the version of an object."""
    (raw,) = [key for key in stage.resources("AWS::S3::Bucket") if "Raw" in key]
    region, account = (stage.config.region or "${AWS::Region}"), (stage.config.account or "${AWS::AccountId}")
    partition = "aws" if stage.config.region else "${AWS::Partition}"
    states = f"arn:{partition}:states:{region}:{account}"
    describing = {("states:DescribeExecution", f"{states}:execution:{stage.config.name}:*")}
    return {
        ("states:StartExecution", f"{states}:stateMachine:{stage.config.name}"),
        ("s3:ListBucketVersions", f"${{{raw}.Arn}}"),
        *(describing if stage.config.workflow_type == "STANDARD" else ()),
    }


TIMEOUTS = {"dispatcher": 120, "reconciliation": 900, "replay": 60}
METRICS = {("cloudwatch:PutMetricData", "*")}


@each_function
def test_should_run_on_arm_with_512_mb_for_300_s_by_default(dev: StageTemplate, name: str) -> None:
    properties = dev.function(name)
    assert properties["Architectures"] == ["arm64"]
    assert properties["Runtime"] == "python3.12"
    assert properties["MemorySize"] == 512
    assert properties["Timeout"] == TIMEOUTS.get(name, 300)
    assert properties["Handler"] == f"runtime.handlers.{name}.handler"
    assert properties["TracingConfig"] == {"Mode": "Active"}


def test_should_size_each_function_by_its_own_settings_and_build_a_layer_for_each_platform() -> None:
    stage = StageTemplate(
        "dev", functions={"validation": {"memory_mb": 1024, "timeout_seconds": 60, "architecture": "x86_64"}}
    )
    validation, ingestion = stage.function("validation"), stage.function("ingestion")
    assert (validation["MemorySize"], validation["Timeout"], validation["Architectures"]) == (1024, 60, ["x86_64"])
    assert (ingestion["MemorySize"], ingestion["Timeout"], ingestion["Architectures"]) == (512, 300, ["arm64"])
    layers = stage.resources("AWS::Lambda::LayerVersion")
    for properties in (validation, ingestion):
        (layer,) = properties["Layers"]
        assert layers[layer["Ref"]]["Properties"]["CompatibleArchitectures"] == properties["Architectures"]
    assert len({json.dumps(layer["Properties"]["Content"]) for layer in layers.values()}) == 2


def test_should_share_one_layer_and_one_code_asset(every_stage: StageTemplate) -> None:
    functions = [body["Properties"] for body in every_stage.resources("AWS::Lambda::Function").values()]
    assert len({json.dumps(properties["Layers"]) for properties in functions}) == 1
    assert len({json.dumps(properties["Code"]) for properties in functions}) == 1


@each_function
def test_should_write_json_logs_into_a_named_group(every_stage: StageTemplate, name: str) -> None:
    logging = every_stage.function(name)["LoggingConfig"]
    assert logging["LogFormat"] == "JSON"
    group = every_stage.resources("AWS::Logs::LogGroup")[logging["LogGroup"]["Ref"]]["Properties"]
    assert group["LogGroupName"] == f"/aws/lambda/medical-imaging-pipeline-{every_stage.config.stage}-{name}"
    days = {"local": 1, "dev": 30, "staging": 30, "prod": 365}
    assert group["RetentionInDays"] == days[every_stage.config.stage]


@pytest.mark.parametrize(
    ("name", "model"),
    [
        (Function.INGESTION, IngestionVariables),
        (Function.VALIDATION, ValidationVariables),
        (Function.DEIDENTIFICATION, DeidentificationVariables),
        (Function.DISPATCHER, DispatcherVariables),
        (Function.REPLAY, ReplayVariables),
        (Function.RECONCILIATION, ReconciliationVariables),
        (Function.COMPLETENESS, CompletenessVariables),
    ],
)
def test_should_set_the_variables_that_the_handler_validates(
    every_stage: StageTemplate,
    name: str,
    model: type[FunctionVariables],
) -> None:
    variables = every_stage.function(name)["Environment"]["Variables"]
    assert set(variables) == set(model.model_fields)
    read = model.model_validate({key: joined(value) for key, value in variables.items()})
    assert every_stage.config.stage == read.STAGE
    assert read.POWERTOOLS_TRACER_CAPTURE_RESPONSE == "false"
    assert read.POWERTOOLS_TRACER_CAPTURE_ERROR == "false"


def test_should_pass_the_stages_strictness_and_profile() -> None:
    stage = StageTemplate("dev", strict=True, profile="basic")
    assert stage.function("validation")["Environment"]["Variables"]["STRICT"] == "true"
    assert stage.function("deidentification")["Environment"]["Variables"]["PROFILE"] == "basic"


def test_should_let_ingestion_read_raw_objects_and_record_their_study(every_stage: StageTemplate) -> None:
    assert rights(every_stage, "ingestion") == (
        common_rights(every_stage, "ingestion") | reading_rights(every_stage) | ledger_rights(every_stage, "UpdateItem")
    )


def test_should_let_validation_read_raw_objects_and_nothing_else(every_stage: StageTemplate) -> None:
    assert rights(every_stage, "validation") == common_rights(every_stage, "validation") | reading_rights(every_stage)


@pytest.mark.parametrize(
    ("name", "indexes", "metrics"),
    [("dispatcher", (), METRICS), ("replay", (), set()), ("reconciliation", ("in-work", "by-verdict"), METRICS)],
)
def test_should_let_who_starts_executions_list_raw_objects_and_write_none(
    every_stage: StageTemplate, name: str, indexes: tuple[str, ...], metrics: set[tuple[str, str]]
) -> None:
    (processed,) = [key for key in every_stage.resources("AWS::S3::Bucket") if "Processed" in key]
    results = {("s3:ListBucket", f"${{{processed}.Arn}}")} if name == "reconciliation" else set()
    audit = recording_rights(every_stage) if name == "dispatcher" else set()
    batches = ("BatchGetItem",) if name == "reconciliation" else ()
    queue = {r for r in rights(every_stage, name) if r[0].startswith("sqs:")}
    assert rights(every_stage, name) - queue == (
        common_rights(every_stage, name)
        | (reading_rights(every_stage) if name == "dispatcher" else set())
        | starting_rights(every_stage)
        | ledger_rights(every_stage, "GetItem", "UpdateItem", *batches, indexes=indexes)
        | metrics
        | results
        | audit
    )
    assert {action for action, _ in queue} == QUEUE_ACTIONS.get(name, set())


QUEUE_ACTIONS = {
    "dispatcher": {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
}


def test_should_let_completeness_write_manifests_and_read_no_object(every_stage: StageTemplate) -> None:
    (processed,) = [key for key in every_stage.resources("AWS::S3::Bucket") if "Processed" in key]
    (bus,) = every_stage.resources("AWS::Events::EventBus")
    assert rights(every_stage, "completeness") == (
        common_rights(every_stage, "completeness")
        | ledger_rights(every_stage, "GetItem", "UpdateItem", indexes=("by-verdict", "by-study"))
        | {
            ("s3:PutObject", f"${{{processed}.Arn}}/*/manifest-*.jsonl"),
            ("events:PutEvents", f"${{{bus}.Arn}}"),
        }
    )


def test_should_let_deidentification_alone_write_processed_objects_and_read_the_key(every_stage: StageTemplate) -> None:
    buckets = every_stage.resources("AWS::S3::Bucket")
    (processed,) = [name for name in buckets if "Processed" in name]
    (secret,) = every_stage.resources("AWS::SecretsManager::Secret")
    shared = (
        common_rights(every_stage, "deidentification")
        | reading_rights(every_stage)
        | ledger_rights(every_stage, "GetItem", "UpdateItem")
    )
    assert rights(every_stage, "deidentification") == shared | {
        ("s3:ListBucket", f"${{{processed}.Arn}}"),
        ("s3:PutObject", f"${{{processed}.Arn}}/*"),
        ("s3:AbortMultipartUpload", f"${{{processed}.Arn}}/*"),
        ("s3:GetObject", f"${{{processed}.Arn}}/*"),
        ("s3:GetObjectVersion", f"${{{processed}.Arn}}/*"),
        ("secretsmanager:GetSecretValue", f"${{{secret}.Id}}"),
    }


def test_should_give_every_function_a_role_of_its_own_without_managed_policies(every_stage: StageTemplate) -> None:
    functions = every_stage.resources("AWS::Lambda::Function").values()
    assert len({json.dumps(body["Properties"]["Role"]) for body in functions}) == len(Function)
    for role in every_stage.resources("AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role["Properties"]


def test_should_generate_a_256_bit_key_in_hexadecimal(every_stage: StageTemplate) -> None:
    generated = every_stage.one("AWS::SecretsManager::Secret")["GenerateSecretString"]
    assert generated["PasswordLength"] * 4 == 256
    assert set(string.ascii_letters + string.digits + string.punctuation) - set(generated["ExcludeCharacters"]) == set(
        "0123456789abcdef"
    )
    assert generated["RequireEachIncludedType"] is False, "a required type would cost entropy"
    assert set(generated) == {"PasswordLength", "ExcludeCharacters", "RequireEachIncludedType"}
