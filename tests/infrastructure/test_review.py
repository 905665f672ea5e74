"""The review of a synthesized stage: what it tells, and that nothing changes unseen."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imaging_pipeline.operations.review import __main__ as command
from imaging_pipeline.operations.review import assembly
from imaging_pipeline.operations.review.actions import ACTIONS
from imaging_pipeline.operations.review.assembly import AssemblyError, Stack, read_assembly, synthesize_revision
from imaging_pipeline.operations.review.facts import Fact
from imaging_pipeline.operations.review.names import Names, references
from imaging_pipeline.operations.review.page import WIDTH, changes, described, summary
from imaging_pipeline.operations.review.sections import every_property, sections
from tests.infrastructure.conftest import StageTemplate

Template = dict[str, Any]
DEIDENTIFICATION = "deidentification function"
ROLES = "Roles: what each may do"
OTHERS = "Everybody else: what the resources' own policies allow"


def stack(stage: StageTemplate) -> Stack:
    return Stack(
        name=stage.config.name,
        account=stage.config.account or "",
        region=stage.config.region or "",
        properties={"terminationProtection": stage.config.termination_protection, "tags": {"stage": "prod"}},
        template=copy.deepcopy(stage.json),
    )


def told(of: Stack, title: str, subject: str) -> str:
    """What the review says of a subject."""
    (section,) = [section for section in sections([of]) if section.title == title]
    return described(section.facts[subject])


def changed(of: Stack, change: Callable[[Template], object]) -> str:
    """The review of a change to a template, as one line."""
    template = copy.deepcopy(dict(of.template))
    change(template)
    now = Stack(of.name, of.account, of.region, of.properties, template)
    compared = {(of.name, logical_id) for logical_id in of.resources.keys() & now.resources.keys()}
    lines = changes(
        [*sections([now]), every_property([now], compared)], [*sections([of]), every_property([of], compared)]
    )
    return "\n".join(lines)


def one_line(text: str) -> str:
    """Text without its line breaks and the marks of broken lines."""
    return " ".join(text.replace("\n!  ", "").replace("\n+  ", "").replace("\n-  ", "").split())


def properties(template: Template, resource_type: str, id_part: str = "") -> dict[str, Any]:
    """The properties of the first resource of a type whose logical id has this part."""
    found = [r for name, r in template["Resources"].items() if r["Type"] == resource_type and id_part in name]
    result: dict[str, Any] = found[0]["Properties"]
    return result


def logical_id(template: Template, resource_type: str, id_part: str) -> str:
    (found, *_) = [n for n, r in template["Resources"].items() if r["Type"] == resource_type and id_part in n]
    return str(found)


def allow(template: Template, role: str, action: object, resource: object, **more: object) -> None:
    statements = properties(template, "AWS::IAM::Policy", role)["PolicyDocument"]["Statement"]
    statements.append({"Effect": "Allow", "Action": action, "Resource": resource, **more})


def key_of(template: Template, bucket: str) -> dict[str, Any]:
    """The properties of the key that encrypts a bucket."""
    (key,) = references(properties(template, "AWS::S3::Bucket", bucket)["BucketEncryption"])
    result: dict[str, Any] = template["Resources"][key]["Properties"]
    return result


def objects_of(template: Template, bucket: str) -> object:
    name = logical_id(template, "AWS::S3::Bucket", bucket)
    return {"Fn::Join": ["", [{"Fn::GetAtt": [name, "Arn"]}, "/*"]]}


# What a role may do.


def test_should_say_in_words_what_deidentification_may_do(prod: StageTemplate) -> None:
    words = told(stack(prod), ROLES, DEIDENTIFICATION)
    for part in (
        "assumed by: lambda.amazonaws.com",
        "raw bucket: lists, reads object versions",
        "processed bucket: aborts uploads, lists, reads object versions, reads objects, writes objects",
        "ledger table: reads, updates items",
        "pseudonym-key secret: reads the value",
    ):
        assert part in words
    assert re.search(r"key: decrypts,", words)


def test_should_name_a_role_by_what_works_in_it_and_tell_conditions(every_stage: StageTemplate) -> None:
    words = told(stack(every_stage), ROLES, "dispatcher function")
    assert "workflow state machine: starts executions" in words, "though the ARN was put together from its name"
    assert "anything: sends metrics (where cloudwatch:namespace is `MedicalImaging/Pipeline`)" in words
    assert "workflow state machine" in {s for section in sections([stack(every_stage)]) for s in section.facts}


def test_should_have_words_for_every_action_of_the_stages_and_the_same_for_no_two(every_stage: StageTemplate) -> None:
    assert len(set(ACTIONS.values())) == len(ACTIONS)
    granting = [section for section in sections([stack(every_stage)]) if section.grants]
    assert len(granting) == 2
    said = {fact.says for section in granting for facts in section.facts.values() for fact in facts}
    assert not [words for words in said if "`" in words]


def test_should_tell_what_others_may_do_by_the_resources_own_policies(prod: StageTemplate) -> None:
    events = told(stack(prod), OTHERS, "events.amazonaws.com")
    assert "intake queue: reads attributes, reads the address, sends messages (where aws:SourceArn is object-" in events
    assert "sends messages (where aws:SourceArn is any of completeness, reconciliation rule)" in events
    assert "reconciliation function: invokes (where aws:SourceArn is like reconciliation rule)" in events
    assert " key: " in told(stack(prod), OTHERS, "this account")
    everyone = told(stack(prod), OTHERS, "everyone")
    assert (
        "raw bucket: denied: every action of s3 (where aws:SecureTransport is `false`; or s3:TlsVersion is" in everyone
    )


@pytest.mark.parametrize(
    ("action", "resource", "words"),
    [
        ("s3:PutBucketPolicy", "*", "anything: `s3:PutBucketPolicy`"),
        ("s3:*", "*", "anything: every action of s3"),
        ("*", "*", "anything: EVERY ACTION"),
        ("s3:GetObject", "arn:aws:s3:::elsewhere/*", "`arn:aws:s3:::elsewhere/*`: reads objects"),
        ("s3:GetObject", {"Fn::ImportValue": "x"}, "`{Fn::ImportValue: x}`: reads objects"),
    ],
)
def test_should_show_what_it_has_no_words_for(prod: StageTemplate, action: str, resource: object, words: str) -> None:
    shown = one_line(changed(stack(prod), lambda t: allow(t, "ValidationRole", action, resource)))
    assert f"! validation function: {words}" in shown


def test_should_mark_whoever_gains_a_right(prod: StageTemplate) -> None:
    shown = changed(stack(prod), lambda t: allow(t, "ValidationRole", "s3:PutObject", objects_of(t, "Processed")))
    assert "! validation function: processed bucket: writes objects" in shown
    assert "+ validation function: processed bucket: writes objects" in shown
    assert "- validation" not in shown


def test_should_not_call_a_right_lost_a_gain(prod: StageTemplate) -> None:
    def narrow(template: Template) -> None:
        statements = properties(template, "AWS::IAM::Policy", "ValidationRole")["PolicyDocument"]["Statement"]
        statements[:] = [each for each in statements if each["Action"] != "s3:ListBucket"]

    shown = changed(stack(prod), narrow)
    assert "### Who gains rights\n\nNobody." in shown
    assert "- validation function: raw bucket: lists" in shown


def _drop_deny(template: Template) -> None:
    statements = properties(template, "AWS::S3::BucketPolicy", "Raw")["PolicyDocument"]["Statement"]
    statements[:] = [each for each in statements if "s3:TlsVersion" not in str(each)]


def _drop_condition(template: Template) -> None:
    statements = properties(template, "AWS::IAM::Policy", "DispatcherRole")["PolicyDocument"]["Statement"]
    (metrics,) = [each for each in statements if each["Action"] == "cloudwatch:PutMetricData"]
    del metrics["Condition"]


def _let_another_account_read(template: Template) -> None:
    statements = properties(template, "AWS::S3::BucketPolicy", "Raw")["PolicyDocument"]["Statement"]
    principal = {"AWS": "arn:aws:iam::999999999999:root"}
    resource = objects_of(template, "Raw")
    statements.append({"Effect": "Allow", "Action": "s3:GetObject", "Principal": principal, "Resource": resource})


def _let_another_service_in(template: Template) -> None:
    role = properties(template, "AWS::IAM::Role", "Deidentification")
    role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] = {
        "Service": ["lambda.amazonaws.com", "ec2.amazonaws.com"]
    }


def _attach_managed_policy(template: Template) -> None:
    properties(template, "AWS::IAM::Role", "Deidentification")["ManagedPolicyArns"] = ["arn:aws:iam::aws:policy/Power"]


def _write_inline_policy(template: Template) -> None:
    statement = {"Effect": "Allow", "NotAction": "iam:*", "NotResource": objects_of(template, "Raw")}
    policy = {"PolicyName": "more", "PolicyDocument": {"Statement": statement}}
    properties(template, "AWS::IAM::Role", "Deidentification")["Policies"] = [policy]


def _let_everyone_decrypt(template: Template) -> None:
    key = key_of(template, "Raw")
    statement = {"Effect": "Allow", "Action": "kms:Decrypt", "Principal": "*", "Resource": "*"}
    key["KeyPolicy"]["Statement"].append(statement)


def _let_key_policy_name_a_role(template: Template) -> None:
    key = key_of(template, "Processed")
    role = {"Fn::GetAtt": [logical_id(template, "AWS::IAM::Role", "Validation"), "Arn"]}
    statement = {"Effect": "Allow", "Action": "kms:Decrypt", "Principal": {"AWS": role}, "Resource": "*"}
    key["KeyPolicy"]["Statement"].append(statement)


def _add_managed_policy(template: Template) -> None:
    document = {"Statement": {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}}
    policy = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": document}}
    template["Resources"]["Helpful"] = policy


def _add_endpoint(template: Template) -> None:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": objects_of(template, "Raw")}
    open_to_all: Template = {"Type": "AWS::EC2::VPCEndpoint", "Properties": {}}
    narrow = {"Type": "AWS::EC2::VPCEndpoint", "Properties": {"PolicyDocument": {"Statement": [statement]}}}
    template["Resources"].update(S3=narrow, Logs=open_to_all)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_add_managed_policy, "! helpful managed policy: anything: lists"),
        (_add_endpoint, "raw bucket through s3 vpc endpoint: reads objects"),
        (_add_endpoint, "anything through logs vpc endpoint: EVERY ACTION"),
        (
            _drop_deny,
            "! everyone: raw bucket: no longer denied: every action of s3 (where s3:TlsVersion is below `1.2`)",
        ),
        (_drop_condition, "! dispatcher function: anything: sends metrics ```"),
        (_let_another_account_read, "! account 999999999999: raw bucket: reads objects"),
        (_let_another_service_in, "! deidentification function: assumed by: ec2.amazonaws.com"),
        (_attach_managed_policy, "! deidentification function: managed policy: all of `arn:aws:iam::aws:policy/Power`"),
        (_write_inline_policy, "! deidentification function: anything but raw bucket: every action but `iam:*`"),
        (_let_everyone_decrypt, "! everyone: KEY OF RAW: decrypts"),
        (_let_key_policy_name_a_role, "! validation function: KEY OF PROCESSED: decrypts"),
    ],
)
def test_should_mark_every_way_to_gain_rights(
    prod: StageTemplate, change: Callable[[Template], object], words: str
) -> None:
    for zone in ("raw", "processed"):
        words = words.replace(f"KEY OF {zone.upper()}", told(stack(prod), "Encryption", f"{zone} bucket"))
    assert words in one_line(changed(stack(prod), change))


def test_should_mark_a_permissions_boundary_that_is_gone(prod: StageTemplate) -> None:
    bounded = stack(prod)
    role = properties(dict(bounded.template), "AWS::IAM::Role", "Validation")
    role["PermissionsBoundary"] = "arn:aws:iam::123456789012:policy/boundary"
    assert "at most: what `arn:aws:iam::123456789012:policy/boundary` allows" in told(
        bounded, ROLES, "validation function"
    )
    shown = one_line(
        changed(bounded, lambda t: properties(t, "AWS::IAM::Role", "Validation").pop("PermissionsBoundary"))
    )
    assert "! validation function: at most: no longer what `arn:aws:iam::123456789012:policy/boundary` allows" in shown


# Retention, encryption, alarms, outputs, options, cost.


def test_should_tell_how_long_what_is_kept(prod: StageTemplate, dev: StageTemplate) -> None:
    assert told(stack(prod), "Retention", "raw bucket") == (
        "aborts uploads after 1 day, keeps versions, moves to STANDARD_IA after 90 days,"
        " outlives the stack (unless its creation fails)"
    )
    assert "deleted with the stack" in told(stack(dev), "Retention", "raw bucket")
    assert "messages 14 days" in told(stack(prod), "Retention", "intake-dead-letters queue")
    assert "protected from deletion, restorable to any second" in told(stack(prod), "Retention", "ledger table")
    assert told(stack(prod), "Retention", "lambda/ingestion log group").startswith("365 days")


def test_should_tell_the_key_of_every_store(prod: StageTemplate, dev: StageTemplate) -> None:
    keys = {name: told(stack(prod), "Encryption", name) for name in ("raw bucket", "ledger table", "processed bucket")}
    assert keys["raw bucket"] == keys["ledger table"] != keys["processed bucket"]
    for key in keys.values():
        assert told(stack(prod), "Encryption", key) == "rotates every 365 days"
    assert told(stack(dev), "Encryption", "raw bucket") == "keys of S3"


def test_should_write_large_what_is_not_encrypted_and_what_does_not_rotate(
    prod: StageTemplate, dev: StageTemplate
) -> None:
    shown = changed(
        stack(dev), lambda t: properties(t, "AWS::SQS::Queue", "IntakeQueue").update(SqsManagedSseEnabled=False)
    )
    assert "+ intake queue: NOT ENCRYPTED" in shown
    shown = changed(stack(prod), lambda t: key_of(t, "Raw").update(EnableKeyRotation=False))
    assert "key: DOES NOT ROTATE" in shown


@pytest.mark.parametrize(
    ("resource_type", "id_part", "values", "words"),
    [
        ("AWS::S3::Bucket", "Raw", {"VersioningConfiguration": {}}, "raw bucket: keeps no versions"),
        ("AWS::DynamoDB::Table", "", {"DeletionProtectionEnabled": False}, "ledger table: not protected from deletion"),
        ("AWS::Lambda::Function", "Ingestion", {"KmsKeyArn": "arn:k"}, "ingestion function: `arn:k`"),
        ("AWS::CloudWatch::Alarm", "IntakeQueueAge", {"AlarmActions": []}, "IntakeQueueAge alarm: tells: NOBODY"),
        ("AWS::CloudWatch::Alarm", "IntakeQueueAge", {"ActionsEnabled": False}, "IntakeQueueAge alarm: MUTED"),
        ("AWS::Lambda::Function", "Ingestion", {"TracingConfig": {}}, "X-Ray: off: ingestion function"),
        ("AWS::Lambda::Function", "Ingestion", {"VpcConfig": {}}, "network: in the VPC: ingestion function"),
        ("AWS::S3::Bucket", "Raw", {"ObjectLockEnabled": True}, "Object Lock: on: raw bucket"),
    ],
)
def test_should_tell_what_a_setting_means(
    prod: StageTemplate, resource_type: str, id_part: str, values: dict[str, Any], words: str
) -> None:
    assert f"+ {words}" in changed(stack(prod), lambda t: properties(t, resource_type, id_part).update(values))


def test_should_show_retention_that_ends_with_the_stack(prod: StageTemplate) -> None:
    def expose(template: Template) -> None:
        template["Resources"][logical_id(template, "AWS::S3::Bucket", "Raw")]["DeletionPolicy"] = "Delete"

    assert "+ raw bucket: deleted with the stack" in changed(stack(prod), expose)


def test_should_tell_thresholds_and_whom_an_alarm_tells() -> None:
    stage = stack(StageTemplate("dev", alert_emails="oncall@example.org"))
    assert told(stage, "Alarms", "IntakeQueueAge alarm") == (
        "ApproximateAgeOfOldestMessage (Maximum) above 3600 in 5 minutes; tells: notifications topic"
    )
    assert "Errors, percent of invocations above 5" in told(stage, "Alarms", "ReplayErrorRate alarm")
    assert told(stage, "Alarms", "notifications topic") == "tells: oncall@example.org by email"


def test_should_say_when_nobody_hears_the_alarms(prod: StageTemplate) -> None:
    assert told(stack(prod), "Alarms", "notifications topic") == "tells: NOBODY YET"


def test_should_tell_outputs_options_and_cost(prod: StageTemplate) -> None:
    of = stack(prod)
    assert "RawBucketName (raw bucket)" in told(of, "Outputs", of.name)
    assert "STANDARD: replay, workflow state machine" in told(of, "Options", "workflow type")
    assert told(of, "Options", "profile") == "research: deidentification function"
    cost = told(of, "Cost of a million delivered objects", of.name)
    total, *parts = (float(amount.replace(",", "")) for amount in re.findall(r"[\d,]+\.\d\d", cost))
    assert total == pytest.approx(sum(parts), abs=0.05)
    assert re.search(r"USD in all.* Step Functions \d{3}\.", cost)


def test_should_say_so_when_cost_can_not_be_estimated(prod: StageTemplate) -> None:
    def without_ingestion(template: Template) -> None:
        del template["Resources"][logical_id(template, "AWS::Lambda::Function", "Ingestion")]

    assert "+ medical-imaging-pipeline-prod: can't be estimated" in changed(stack(prod), without_ingestion)


# Nothing unseen.


def test_should_count_every_resource_and_say_which_types_are_only_counted(prod: StageTemplate) -> None:
    shown = changed(stack(prod), lambda t: t["Resources"].update(Moon={"Type": "AWS::Moon::Base", "Properties": {}}))
    assert "+ medical-imaging-pipeline-prod: Moon::Base 1 (counted only)" in shown
    assert "+ moon base: AWS::Moon::Base" in shown
    words = told(stack(prod), "Resources", "medical-imaging-pipeline-prod")
    assert f"S3::Bucket {len(prod.resources('AWS::S3::Bucket'))}," in words


def test_should_say_no_change_where_there_is_none(prod: StageTemplate) -> None:
    shown = changed(stack(prod), lambda _: None)
    assert shown.count(": no change") == 11
    assert "```" not in shown


def test_should_show_a_change_to_any_property_of_any_type(prod: StageTemplate) -> None:
    of = stack(prod)
    compared = {(of.name, name) for name in of.resources}
    base = [*sections([of]), every_property([of], compared)]
    unseen: list[tuple[str, str]] = []
    tried: set[tuple[str, str]] = set()
    for name, resource in of.resources.items():
        for key in {*resource["Properties"], "Unheard"} - {key for kind, key in tried if kind == resource["Type"]}:
            tried.add((resource["Type"], key))
            altered = {**resource["Properties"], key: _altered(resource["Properties"].get(key))}
            resources = {**of.resources, name: {**resource, "Properties": altered}}
            now = replace(of, template={**of.template, "Resources": resources})
            if "```diff" not in changes([*sections([now]), every_property([now], compared)], base):
                unseen.append((resource["Type"], key))
    assert ("AWS::S3::Bucket", "VersioningConfiguration") in tried
    assert not unseen


def _altered(value: Any) -> Any:
    """The same value with something else deep inside."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case {"Fn::GetAtt": [name, _]} | {"Ref": name}:
            return {"Ref": f"{name}Else"}
        case {**parts} if parts and not any(str(key).startswith("Fn::") for key in parts):
            key = next(iter(parts))
            return {**parts, key: _altered(parts[key])}
        case [first, *rest]:
            return [_altered(first), *rest]
    return "changed"


def test_should_write_the_same_page_whatever_the_order_in_the_template(prod: StageTemplate) -> None:
    of = stack(prod)
    resources = dict(reversed(list(of.template["Resources"].items())))
    backwards = Stack(of.name, of.account, of.region, of.properties, {**of.template, "Resources": resources})
    assert list(summary(sections([of]))) == list(summary(sections([backwards])))


def test_should_fit_a_terminal_and_a_page(every_stage: StageTemplate) -> None:
    lines = list(summary(sections([stack(every_stage)])))
    assert not [line for line in lines if len(line) > WIDTH and " " in line.strip()]
    assert len(lines) < 400


def test_should_join_facts_without_joining_what_differs() -> None:
    facts = [Fact("a bucket", "reads objects"), Fact("b bucket", "reads objects"), Fact("b bucket", "lists", "c is 1")]
    assert described(facts) == "a, b bucket: reads objects; b bucket: lists (where c is 1)"
    assert (
        described([Fact("a", "reads", "c is 1"), Fact("a", "reads", "c is 2")]) == "a: reads (where c is any of 1, 2)"
    )
    assert described([Fact("a", "reads"), Fact("a", "reads", "c is 1")]) == "a: reads"
    assert described([Fact("a", "denied: reads it"), Fact("a", "denied: writes it")]) == "a: denied: reads, writes it"


def test_should_tell_two_stacks_apart(prod: StageTemplate) -> None:
    of = stack(prod)
    bucket = of.template["Resources"][logical_id(dict(of.template), "AWS::S3::Bucket", "Raw")]
    template = {"Resources": {"BucketsRaw00000000": bucket}}
    replica = Stack(f"{of.name}-replica", of.account, "eu-west-1", {}, template)
    retention = next(section for section in sections([of, replica]) if section.title == "Retention")
    assert {"raw bucket", "replica raw bucket"} <= set(retention.facts)
    copies = {"Fn::GetStackOutput": {"StackName": replica.name, "OutputName": "Copies", "Region": "eu-west-1"}}
    template["Outputs"] = {"Copies": {"Value": {"Fn::GetAtt": ["BucketsRaw00000000", "Arn"]}}}
    assert Names([of, replica]).arn(of, copies) == "replica raw bucket"
    assert "termination protection OFF" in told(replica, "Stacks", replica.name)


# The assembly, and the base.


def write_assembly(folder: Path, template: Template) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    artifact = {
        "type": "aws:cloudformation:stack",
        "environment": "aws://unknown-account/unknown-region",
        "properties": {"templateFile": "pipeline.template.json"},
    }
    (folder / "manifest.json").write_text(
        json.dumps({"artifacts": {"pipeline": artifact, "Tree": {"type": "cdk:tree"}}})
    )
    (folder / "pipeline.template.json").write_text(json.dumps(template))


def test_should_read_the_assembly_that_the_manifest_names(tmp_path: Path) -> None:
    write_assembly(tmp_path, {"Resources": {}})
    (tmp_path / "stale.template.json").write_text("{")
    (found,) = read_assembly(tmp_path)
    assert (found.name, found.account, found.region) == ("pipeline", "", "")
    with pytest.raises(AssemblyError, match="synthesize a stage first"):
        read_assembly(tmp_path / "nowhere")


APP = """
import json, os, pathlib
context = json.loads(os.environ["CDK_CONTEXT_JSON"])
folder = pathlib.Path(os.environ["CDK_OUTDIR"])
folder.mkdir()
artifact = {"type": "aws:cloudformation:stack", "environment": "aws://1/e", "properties": {"templateFile": "t.json"}}
(folder / "manifest.json").write_text(json.dumps({"artifacts": {"pipeline": artifact}}))
bucket = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": context["stage"], "Flag": context["flag"]}}
(folder / "t.json").write_text(json.dumps({"Resources": {"Raw": bucket}}))
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of two commits: an app that synthesizes one bucket, then one that fails."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.setattr(assembly, "REPOSITORY", folder)
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    (folder / "cdk.json").write_text('{"context": {"flag": true}}')
    for app, tag in ((APP, "works"), ("import sys; sys.exit('no moon')", "fails")):
        (folder / "app.py").write_text(app)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-qm", tag], check=True)
        subprocess.run([*git, "tag", tag], check=True)
    return folder


@pytest.mark.usefixtures("repository")
def test_should_synthesize_another_revision_by_its_own_app_for_the_same_stage() -> None:
    (found,) = synthesize_revision("works", {"stage": "prod"})
    assert found.resources["Raw"]["Properties"] == {"BucketName": "prod", "Flag": True}


def review(folder: Path, *arguments: str) -> str:
    assert command.main(["-o", str(folder), *arguments]) == 0
    return (folder / command.PAGE).read_text()


@pytest.mark.usefixtures("repository")
def test_should_print_what_it_writes_and_compare_with_the_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "prod", "Flag": False}}
    write_assembly(tmp_path / "out", {"Resources": {"Raw": bucket}})
    page = review(tmp_path / "out", "--base", "works", "-c", "stage=prod", "--require-approval", "never")
    assert capsys.readouterr().out == page
    assert "## Changes since works (" in page
    assert "- prod bucket: `Flag`: True\n+ prod bucket: `Flag`: False" in page


@pytest.mark.usefixtures("repository")
def test_should_say_clearly_that_the_base_can_not_be_synthesized(tmp_path: Path) -> None:
    write_assembly(tmp_path / "out", {"Resources": {}})
    page = review(tmp_path / "out", "--base", "fails", "-c", "stage=prod")
    assert "**Unknown: fails could not be synthesized for this stage: its app ended with code 1.**" in page
    assert "\n```\nno moon\n```\n" in page
    assert "no change" not in page
    assert "## Retention" in page


@pytest.mark.usefixtures("repository")
def test_should_refuse_a_revision_that_is_not_there(tmp_path: Path) -> None:
    write_assembly(tmp_path / "out", {"Resources": {}})
    with pytest.raises(SystemExit) as refusal:
        command.main(["-o", str(tmp_path / "out"), "--base", "--output=nonsense"])
    assert refusal.value.code == 2
    with pytest.raises(SystemExit) as refusal:
        command.main(["-o", str(tmp_path / "out"), "--base", "gone"])
    assert refusal.value.code == "This clone has no revision 'gone' to compare with: fetch it first."
