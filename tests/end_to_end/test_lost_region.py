"""A lost region: a stage that is deployed elsewhere with the pseudonym key that survived writes the same results."""

from __future__ import annotations

import boto3

from local.deployment import deploy
from local.emulator import Emulator
from local.environment import isolated_environment, isolation
from local.pipeline import Pipeline
from local.samples import BUNDLED, as_instance
from tests.end_to_end.conftest import Stage

MR = as_instance((BUNDLED / "MR_small.dcm").read_bytes(), 4711)
SECRET = "medical-imaging-pipeline-local/pseudonym-key"


def test_should_write_the_same_results_elsewhere_with_the_key_that_survived(stage: Stage, pipeline: Pipeline) -> None:
    with isolation(stage.environment):
        here = pipeline.process("series/mr.dcm", MR)
        assert here.output_key
        written = pipeline.processed(here.output_key)
        key = boto3.client("secretsmanager").get_secret_value(SecretId=SECRET)["SecretString"]
    with Emulator() as elsewhere:
        with isolation(isolated_environment(elsewhere.endpoint, elsewhere.scratch)):
            promoted = boto3.client("secretsmanager").create_secret(Name=SECRET, SecretString=key)["ARN"]
        environment, outputs = deploy(elsewhere, settings={"pseudonym_key_arn": promoted})
        with isolation(environment):
            there = Pipeline(outputs)
            assert there.process("series/mr.dcm", MR).output_key == here.output_key
            assert there.processed(here.output_key) == written
            (secret,) = boto3.client("secretsmanager").list_secrets()["SecretList"]
            assert secret["ARN"] == promoted, "the stack made no other"
