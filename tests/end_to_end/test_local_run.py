"""A local run writes no more than it has to, and a shell can talk to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from local.deployment import shell_variables
from local.pipeline import Pipeline
from local.runs import shell_settings
from local.samples import BUNDLED
from runtime.contract.names import State
from tests.end_to_end.conftest import Stage

SCRIPT = """
import os, boto3
boto3.client("s3").upload_file(os.environ["FILE"], os.environ["RAW_BUCKET_NAME"], "shell/image.dcm")
name = boto3.client("ssm").get_parameter(Name=f"/medical-imaging-pipeline/{os.environ['STAGE']}/raw-bucket-name")
assert name["Parameter"]["Value"] == os.environ["RAW_BUCKET_NAME"]
boto3.client("sqs").get_queue_attributes(QueueUrl=os.environ["INTAKE_QUEUE_URL"])
"""


def test_should_unpack_a_layer_once_for_all_processes(stage: Stage, pipeline: Pipeline) -> None:
    assert pipeline.process("layers/image.dcm", BUNDLED / "CT_small.dcm").end in {State.SUCCESS, State.DUPLICATE}
    scratch = stage.decisions.parent

    processes = list(scratch.glob("ministack-lambda-*"))

    assert len(processes) > len(list((scratch / "layers").iterdir())) == 1
    assert not list(scratch.glob("ministack-lambda-*/layer_*"))


def test_should_reach_the_stage_from_a_shell_of_a_user_of_aws(stage: Stage, pipeline: Pipeline, tmp_path: Path) -> None:
    user = {
        "PATH": os.environ["PATH"],
        "AWS_PROFILE": "hospital",
        "AWS_ENDPOINT_URL_S3": "https://s3.example.org",
        "FILE": str(BUNDLED / "MR_small.dcm"),
    }
    settings = shell_settings(
        shell_variables(stage.environment, stage.outputs), user, executables=Path(sys.executable).parent
    )

    subprocess.run(
        ["/bin/sh", "-euc", 'eval "$SETTINGS"; python -c "$SCRIPT"'],
        env={**user, "SETTINGS": settings, "SCRIPT": SCRIPT},
        check=True,
    )

    assert [outcome.key for outcome in pipeline.ended("shell/image.dcm", 1)] == ["shell/image.dcm"]
