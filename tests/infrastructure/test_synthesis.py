"""`python -m app`, the way the CDK command line runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.infrastructure.conftest import FEATURE_FLAGS, REPOSITORY, StageTemplate
from tests.infrastructure.options import ACCOUNT, OPTIONS

UNREACHABLE = "http://127.0.0.1:9"

CONTEXT_FILE: dict[str, Any] = {
    "stage": "prod",
    "account": ACCOUNT,
    "region": "eu-central-1",
    "cost_tags": {"cost-center": "4711", "owner": "Radiology"},
    **{name: value for option in OPTIONS.values() for name, value in option.items()},
}
# As `-c <setting>=<value>` arrives: text, where a list is its parts with commas, and a mapping its pairs.
COMMAND_LINE: dict[str, Any] = {
    name: ",".join(value) if isinstance(value, list) else str(value) for name, value in CONTEXT_FILE.items()
} | {"cost_tags": "cost-center=4711,owner=Radiology"}


def run_app(
    folder: Path, context: dict[str, Any], program: tuple[str, ...] = ("-m", "app"), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Synthesize without anything of AWS in the environment or in files."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],  # jsii keeps the library it unpacked there
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "CDK_OUTDIR": str(folder),
        "CDK_CONTEXT_JSON": json.dumps({**FEATURE_FLAGS, **context}),
        "AWS_EC2_METADATA_DISABLED": "true",
        **variables,
    }
    command = [*(_offline() if variables else []), sys.executable, *program]
    return subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def _offline() -> list[str]:
    """Run in a network namespace without interfaces where the kernel lets us."""
    command = ["unshare", "--net", "--map-root-user"]
    if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
        return command
    return []


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def layer_is_built(tmp_path: Path) -> None:
    """The first synthesis may fetch the layer's wheels; it takes pip's settings from whoever runs the tests."""
    pip_settings = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    home = {"HOME": os.environ["HOME"]}
    environment = {"PATH": os.environ["PATH"], **pip_settings, **home}
    build = (
        "from imaging_pipeline.building_blocks.dependency_layer import DependencyLayer, FunctionSettings;"
        "DependencyLayer(FunctionSettings(), native=False).build()"
    )
    subprocess.run([sys.executable, "-c", build], env=environment, cwd=REPOSITORY, check=True)


@pytest.mark.usefixtures("layer_is_built")
def test_should_write_the_same_bytes_twice_without_credentials_or_network(tmp_path: Path) -> None:
    written: list[dict[str, bytes]] = []
    for name in ("first", "second"):
        result = run_app(
            tmp_path / name,
            {"stage": "dev"},
            HTTP_PROXY=UNREACHABLE,
            HTTPS_PROXY=UNREACHABLE,
            PIP_NO_INDEX="1",
            PYTHONHASHSEED=str(len(written)),
        )
        assert result.returncode == 0, result.stderr
        written.append(files(tmp_path / name))
    first, second = written
    assert "medical-imaging-pipeline-dev.template.json" in first
    assert any("/python/pydicom/" in path for path in first), "the layer is in the assembly"
    assert any(path.endswith("/runtime/contract/names.py") for path in first)
    assert first == second


def test_should_put_only_the_runtime_package_into_the_function(tmp_path: Path) -> None:
    result = run_app(tmp_path / "out", {"stage": "dev", "aws:cdk:bundling-stacks": []})
    assert result.returncode == 0, result.stderr
    template = json.loads((tmp_path / "out" / "medical-imaging-pipeline-dev.template.json").read_text())
    functions = [r for r in template["Resources"].values() if r["Type"] == "AWS::Lambda::Function"]
    (key,) = {function["Properties"]["Code"]["S3Key"] for function in functions}
    code = files(tmp_path / "out" / f"asset.{key.removesuffix('.zip')}")
    assert {path.split("/")[0] for path in code} == {"runtime"}
    assert "runtime/contract/names.py" in code
    assert not [path for path in code if "__pycache__" in path or "requirements" in path]


@pytest.mark.parametrize("context", [COMMAND_LINE, CONTEXT_FILE], ids=["command line", "cdk.context.json"])
def test_should_take_options_from_the_command_line_and_from_a_file(tmp_path: Path, context: dict[str, Any]) -> None:
    result = run_app(tmp_path / "out", context | {"aws:cdk:bundling-stacks": []})
    assert result.returncode == 0, result.stderr
    name = "medical-imaging-pipeline-prod"
    template = json.loads((tmp_path / "out" / f"{name}.template.json").read_text())
    expected = StageTemplate("prod", **{key: value for key, value in CONTEXT_FILE.items() if key != "stage"})
    assert template["Resources"].keys() == expected.json["Resources"].keys()
    policies = [
        [r for r in found["Resources"].values() if r["Type"] in {"AWS::S3::BucketPolicy", "AWS::EC2::VPCEndpoint"}]
        for found in (template, expected.json)
    ]
    assert policies[0] == policies[1]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["artifacts"][name]["properties"]["tags"]["cost-center"] == "4711"
    assert "missing" not in manifest, "nothing has to be looked up with credentials"


@pytest.mark.parametrize(
    ("context", "sentence"),
    [
        ({}, "No stage is chosen: add `-c stage=<name>` with one of local, dev, staging, prod.\n"),
        ({"stage": "qa"}, "There is no stage 'qa': choose one of local, dev, staging, prod.\n"),
        (
            {"stage": "dev", "access_log_retention_days": "0"},
            "Stage 'dev' is not valid: access_log_retention_days = '0': Input should be greater than or equal to 1.\n",
        ),
        (
            {"stage": "dev", "encrypton": "kms"},
            "Stage 'dev' is not valid: encrypton = 'kms': there is no such setting, but there is encryption.\n",
        ),
        (
            {"stage": "prod"},
            "Stage 'prod' is not valid: needs an explicit account and region:"
            " add `-c account=<12 digits> -c region=<name>`.\n",
        ),
    ],
)
def test_should_stop_with_one_clear_sentence(tmp_path: Path, context: dict[str, str], sentence: str) -> None:
    result = run_app(tmp_path / "out", context)
    assert result.returncode == 1
    assert result.stdout == ""
    assert _without_node_warnings(result.stderr) == sentence
    assert not list(tmp_path.glob("out/*.template.json"))


def test_should_stop_with_a_verdict_when_the_rule_packs_find_something(tmp_path: Path) -> None:
    forgetful = (
        "import app; from imaging_pipeline.operations import rule_packs;"
        " rule_packs.acknowledgements = tuple; app.main()"
    )
    result = run_app(tmp_path / "out", {"stage": "dev", "aws:cdk:bundling-stacks": []}, program=("-c", forgetful))
    assert result.returncode == 1
    verdict = _without_node_warnings(result.stderr).splitlines()
    assert re.fullmatch(r"Stage 'dev' is refused, for \d+ findings of the rule packs:", verdict[0])
    assert (
        "  PseudonymKey/Secret: The secret does not have automatic rotation scheduled. [AwsSolutions-SMG4]" in verdict
    )
    assert verdict[-1] == "Mend them, or say in imaging_pipeline/operations/acknowledged.toml why they are no defect."


def _without_node_warnings(text: str) -> str:
    """Drop what jsii says about a Node version it hasn't tested."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(("b'!!", "!!", "\n")))


def test_should_write_a_stack_for_each_region_and_deploy_the_replica_first(tmp_path: Path) -> None:
    context = {
        "stage": "prod",
        "account": "123456789012",
        "region": "eu-central-1",
        "replica_region": "eu-west-1",
        "trail_retention_days": "365",
        "log_retention": "90",
        "aws:cdk:bundling-stacks": [],
    }
    result = run_app(tmp_path / "out", context)
    assert result.returncode == 0, result.stderr
    artifacts = json.loads((tmp_path / "out" / "manifest.json").read_text())["artifacts"]
    stacks = {name: body for name, body in artifacts.items() if body["type"] == "aws:cloudformation:stack"}
    assert {name: body["environment"] for name, body in stacks.items()} == {
        "medical-imaging-pipeline-prod": "aws://123456789012/eu-central-1",
        "medical-imaging-pipeline-prod-replica": "aws://123456789012/eu-west-1",
    }
    assert "medical-imaging-pipeline-prod-replica" in stacks["medical-imaging-pipeline-prod"]["dependencies"]
