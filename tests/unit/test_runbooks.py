"""Runbooks: what they tell an operator to type exists."""

from __future__ import annotations

import json
import re
import shlex
from itertools import pairwise
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name
from botocore.model import OperationModel, StructureShape
from botocore.validate import ParamValidator

from imaging_pipeline.stages.config import StageConfig
from runtime.contract.names import Output

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(REPOSITORY.glob("docs/*.md"))
OF_EVERY_COMMAND = {"--region", "--query", "--output", "--no-confirmation-required"}


def commands(text: str) -> list[list[str]]:
    """Calls of AWS's command line that name an operation of a service, as words; `s3` and `configure` name none."""
    one_line_each = re.sub(r"\\\n\s*", "", text)
    found = re.findall(r"\baws ((?!s3 |configure )[a-z0-9]+ [a-z-]+[^\n`]*)", one_line_each)
    return [shlex.split(command.rstrip(";) }")) for command in found]


def operation(service: str, command: str) -> OperationModel:
    model = botocore.session.get_session().get_service_model({"s3api": "s3"}.get(service, service))
    names = {xform_name(name, "-"): name for name in model.operation_names}
    return model.operation_model(names[command])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_should_call_operations_and_options_that_aws_has(document: Path) -> None:
    for service, command, *words in commands(document.read_text()):
        shape = operation(service, command).input_shape
        assert isinstance(shape, StructureShape)
        members = {f"--{xform_name(name, '-')}": member for name, member in shape.members.items()}
        for option, value in pairwise([*words, ""]):
            if option in OF_EVERY_COMMAND or not option.startswith("--"):
                continue
            assert option in members, f"{service} {command}"
            if value.startswith("{") and members[option].type_name in {"structure", "map"}:
                report = ParamValidator().validate(json.loads(value), members[option])
                assert not report.has_errors(), report.generate_report()


def test_should_find_the_commands_of_the_runbooks() -> None:
    found = {tuple(words[:2]) for words in commands((REPOSITORY / "docs/operations.md").read_text())}
    assert {
        ("secretsmanager", "stop-replication-to-replica"),
        ("secretsmanager", "update-secret"),
        ("s3control", "create-job"),
        ("ssm", "get-parameter"),
        ("cloudformation", "describe-stacks"),
    } <= found


def test_should_give_settings_and_read_parameters_that_a_stage_has() -> None:
    text = (REPOSITORY / "docs/operations.md").read_text()
    settings = set(re.findall(r"-c ([a-z_]+)=", text))
    assert {"account", "region", "pseudonym_key_arn"} <= settings
    assert settings <= set(StageConfig.model_fields)
    published = {re.sub(r"(?<!^)(?=[A-Z])", "-", output).lower() for output in Output}
    parameters = set(re.findall(r"/medical-imaging-pipeline/\$?\w+/([a-z-]+)", text))
    assert parameters
    assert parameters <= published
