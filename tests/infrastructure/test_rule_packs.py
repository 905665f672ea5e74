"""cdk-nag's rule packs: every finding is mended or acknowledged, and nothing else is acknowledged."""

from __future__ import annotations

from functools import cache

import pytest
from aws_cdk import aws_s3 as s3
from pydantic import ValidationError

from imaging_pipeline.operations import rule_packs
from imaging_pipeline.operations.rule_packs import Acknowledgement, Finding, UnansweredError
from tests.infrastructure.conftest import StageTemplate
from tests.infrastructure.options import VARIANTS, variant

each_variant = pytest.mark.parametrize("name", VARIANTS)


@cache
def found(name: str) -> tuple[Finding, ...]:
    stage = variant(name)
    return tuple(rule_packs.findings(stage.app, stage.config))


@each_variant
def test_should_leave_no_finding_unanswered(name: str) -> None:
    assert rule_packs.unanswered(found(name), variant(name).config) == []


def test_should_acknowledge_only_what_the_packs_still_find() -> None:
    matched = {
        (number, resource)
        for name in VARIANTS
        for number, entry in enumerate(rule_packs.acknowledgements())
        if entry.holds_in(variant(name).config)
        for resource in entry.resources
        if any(entry.model_copy(update={"resources": (resource,)}).answers(finding) for finding in found(name))
    }
    stale = [
        (entry.rule, resource)
        for number, entry in enumerate(rule_packs.acknowledgements())
        for resource in entry.resources
        if (number, resource) not in matched
    ]
    assert stale == [], "remove them from acknowledged.toml"


def test_should_run_all_three_packs() -> None:
    assert {finding.rule.split("-")[0] for finding in found("prod")} == {"AwsSolutions", "HIPAA.Security", "Serverless"}


def test_should_not_let_one_stages_answer_count_in_another(dev: StageTemplate, prod: StageTemplate) -> None:
    finding = Finding("HIPAA.Security-S3DefaultEncryptionKMS", "Buckets/Raw", "not encrypted by a key of its own")
    assert rule_packs.unanswered([finding], dev.config) == []
    assert rule_packs.unanswered([finding], prod.config) == [finding]


def test_should_answer_for_the_named_resource_only() -> None:
    entry = Acknowledgement(rule="Rule[<A….Arn>/*]", resources=("Some/Path",), reason="A reason that is long enough.")
    assert entry.answers(Finding("Rule[<A123.Arn>/*]", "Some/Path", ""))
    assert not entry.answers(Finding("Rule[<B123.Arn>/*]", "Some/Path", ""))
    assert not entry.answers(Finding("Rule[<A123.Arn>/*]", "Some/Path/Below", ""))


def test_should_refuse_an_acknowledgement_without_a_reason() -> None:
    with pytest.raises(ValidationError, match="reason"):
        Acknowledgement.model_validate({"rule": "AwsSolutions-S1", "resources": ["Buckets/Raw"], "reason": "wontfix"})


def test_should_refuse_a_stage_with_a_new_finding_and_say_what_where_and_what_to_do() -> None:
    stage = StageTemplate("dev")
    s3.Bucket(stage.stack, "Careless")
    with pytest.raises(UnansweredError) as refusal:
        rule_packs.check(stage.stack, stage.config)
    verdict = str(refusal.value).splitlines()
    assert verdict[0].startswith("Stage 'dev' is refused, for ")
    assert "  Careless: The S3 Bucket has server access logs disabled. [AwsSolutions-S1]" in verdict
    assert verdict[-1] == "Mend them, or say in imaging_pipeline/operations/acknowledged.toml why they are no defect."
    assert all("Careless" in line for line in verdict[1:-1])
