"""The review of a synthesized stage: what it answers at a glance, and that nobody gains rights unseen."""

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
from imaging_pipeline.operations.review.assembly import AssemblyError, Stack, read_assembly, synthesize_revision
from imaging_pipeline.operations.review.matrix import COLUMNS, RESEARCH_ZONE, columns
from imaging_pipeline.operations.review.names import Names, references
from imaging_pipeline.operations.review.page import WIDTH, Review, details, page
from runtime.deidentification.profile import load_profile
from runtime.deidentification.rules.resolution import Ruleset
from tests.infrastructure.conftest import StageTemplate
from tests.infrastructure.options import variant

Template = dict[str, Any]
LEAVES = "What leaves the hospital"
KEPT = "What is kept, for how long, by which key"
ALARMS = "Who hears alarms"


def stacks(stage: StageTemplate) -> tuple[Stack, ...]:
    found = read_assembly(Path(stage.app.synth().directory))
    return tuple(replace(stack, template=copy.deepcopy(stack.template)) for stack in found)


def stack(stage: StageTemplate) -> Stack:
    return next(each for each in stacks(stage) if each.name == stage.config.name)


def told(of: Stack, title: str) -> dict[str, str]:
    """What a section of the page says."""
    return dict(Review([of]).lines[title])


def letters(of: Stack, subject: str) -> dict[str, str]:
    return {str(column): cell for column, cell in Review([of]).matrix[subject].items()}


def altered(of: Stack, change: Callable[[Template], object]) -> Stack:
    template = copy.deepcopy(dict(of.template))
    change(template)
    return replace(of, template=template)


def changed(of: Stack, change: Callable[[Template], object]) -> str:
    """The page and its details about a change to a template, as one line."""
    now, before = Review([altered(of, change)]), Review([of])
    return one_line("\n".join([*page(now, before, "base"), *details(now, before)]))


def one_line(text: str) -> str:
    """Text without its line breaks and the marks of broken lines."""
    return " ".join(re.sub(r"\n[!+-]   ", " ", text).split())


def properties(template: Template, resource_type: str, id_part: str = "") -> dict[str, Any]:
    """The properties of the first resource of a type whose logical id has this part."""
    result: dict[str, Any] = template["Resources"][logical_id(template, resource_type, id_part)]["Properties"]
    return result


def logical_id(template: Template, resource_type: str, id_part: str) -> str:
    (found, *_) = [n for n, r in template["Resources"].items() if r["Type"] == resource_type and id_part in n]
    return str(found)


def bucket(template: Template, zone: str) -> str:
    """The logical id of the bucket that an output names."""
    (found,) = references(template["Outputs"][f"{zone}BucketName"]["Value"])
    return found


def role(template: Template, function: str) -> str:
    """The logical id of a function's role."""
    (body,) = [
        body["Properties"]
        for body in template["Resources"].values()
        if body["Type"] == "AWS::Lambda::Function" and body["Properties"]["FunctionName"].endswith(f"-{function}")
    ]
    (found,) = references(body["Role"])
    return found


def statements(template: Template, function: str) -> list[dict[str, Any]]:
    """The statements of the policy of a function's role."""
    (found,) = [
        body["Properties"]["PolicyDocument"]["Statement"]
        for body in template["Resources"].values()
        if body["Type"] == "AWS::IAM::Policy" and {"Ref": role(template, function)} in body["Properties"]["Roles"]
    ]
    return list(found) if not isinstance(found, list) else found


def bucket_policy(template: Template, zone: str) -> list[dict[str, Any]]:
    (found,) = [
        body["Properties"]["PolicyDocument"]["Statement"]
        for body in template["Resources"].values()
        if body["Type"] == "AWS::S3::BucketPolicy"
        and bucket(template, zone) in references(body["Properties"]["Bucket"])
    ]
    result: list[dict[str, Any]] = found
    return result


def allow(template: Template, function: str, action: object, resource: object, **more: object) -> None:
    statements(template, function).append({"Effect": "Allow", "Action": action, "Resource": resource, **more})


def key_of(template: Template, zone: str) -> dict[str, Any]:
    """The properties of the key that encrypts a bucket."""
    (key,) = references(template["Resources"][bucket(template, zone)]["Properties"]["BucketEncryption"])
    result: dict[str, Any] = template["Resources"][key]["Properties"]
    return result


def objects_of(template: Template, zone: str) -> object:
    return {"Fn::Join": ["", [{"Fn::GetAtt": [bucket(template, zone), "Arn"]}, "/*"]]}


# The matrix.


def test_should_show_who_reads_writes_and_decrypts_what(prod: StageTemplate) -> None:
    table = [line for line in page(Review([stack(prod)]), None, "nothing") if line.startswith("|")]
    cells = {row[1].strip(): [cell.strip() for cell in row[2:-1]] for row in (line.split("|") for line in table)}
    assert cells[""] == list(COLUMNS)
    assert {name: row for name, row in cells.items() if not name.startswith("-")} == {
        "": ["raw", "records", "secret", "PHI key", "results", "events", "RES key", "other"],
        "completeness": ["", "RW", "", "D", "W", "W", "E", ""],
        "deidentification": ["RL", "RW", "R", "D", "RLW", "", "DE", ""],
        "dispatcher": ["RL", "RLW", "", "DE", "", "", "", "LX"],
        "ingestion": ["RL", "W", "", "D", "", "", "", ""],
        "reconciliation": ["L", "RW", "", "DE", "L", "", "", "LX"],
        "replay": ["L", "RW", "", "DE", "", "", "", "LX"],
        "replay state machine": ["L", "RLW", "", "DE", "", "", "", "LXA"],
        "validation": ["RL", "", "", "D", "", "", "", ""],
        "workflow state machine": ["T", "W", "", "DE", "", "W", "", "LXA"],
    }


def test_should_name_who_spans_the_zones(prod: StageTemplate) -> None:
    of = stack(prod)
    spanning = "reads or decrypts PHI, and writes research data"
    assert told(of, "Who reads, writes and decrypts")[spanning] == (
        "completeness, deidentification, workflow state machine"
    )
    widened = altered(of, lambda t: allow(t, "validation", "s3:PutObject", objects_of(t, "Processed")))
    assert "validation" in told(widened, "Who reads, writes and decrypts")[spanning]


@pytest.mark.parametrize("name", ["prod", "prod, every option"])
def test_should_count_what_the_research_zones_key_encrypts_as_research_and_all_else_as_phi(name: str) -> None:
    of = stacks(variant(name))
    names = Names(of)
    column_of = columns(of, names)
    shown = Review(of).lines[KEPT]
    encrypted = {store: shown[store] for store in column_of if " key" in shown.get(store, "")}
    assert len(encrypted) >= 10
    for store, words in encrypted.items():
        assert (column_of[store] in RESEARCH_ZONE) == ("research key" in words), store


@pytest.mark.parametrize(
    ("action", "resource", "added"),
    [
        ("s3:GetObject", "*", {"raw": "RL", "records": "R", "results": "R", "PHI key": "D"}),
        ("s3:GetObject", "arn:aws:s3:::*", {"raw": "RL", "records": "R", "results": "R", "PHI key": "D"}),
        ("dynamodb:Scan", "arn:aws:dynamodb:*:*:table/*", {"raw": "RL", "records": "R", "PHI key": "D", "events": "R"}),
        ("s3:*", "*", {"raw": "RL*", "records": "*", "results": "*", "PHI key": "D"}),
        ("*", "*", {column: {"raw": "RL*", "PHI key": "D*"}.get(column, "*") for column in COLUMNS}),
        ("kms:ReEncrypt*", "*", {"raw": "RL", "PHI key": "DE", "RES key": "DE"}),
        ("s3:PutBucketPolicy", "*", {"raw": "RLA", "records": "A", "results": "A", "PHI key": "D"}),
        ("s3:PutObjectAcl", "RAW", {"raw": "RLA", "PHI key": "D"}),
        ("s3:DeleteObjectVersion", "RAW", {"raw": "RLW", "PHI key": "D"}),
        ("s3:PutObject", "arn:aws:s3:::elsewhere/*", {"raw": "RL", "PHI key": "D", "other": "W"}),
        ("s3:PutObject", {"Fn::ImportValue": "x"}, {"raw": "RL", "PHI key": "D", "other": "W"}),
        ("moon:Land", "*", {"raw": "RL", "PHI key": "D", "other": "A"}),
        ("logs:PutLogEvents", "*", {"raw": "RL", "PHI key": "D"}),
    ],
)
def test_should_put_a_right_into_every_column_it_reaches(
    prod: StageTemplate, action: str, resource: object, added: dict[str, str]
) -> None:
    of = stack(prod)
    target = objects_of(dict(of.template), "Raw") if resource == "RAW" else resource
    assert letters(altered(of, lambda t: allow(t, "validation", action, target)), "validation") == added


def test_should_count_no_prohibition_as_a_right(prod: StageTemplate) -> None:
    of = stack(prod)
    denied = altered(of, lambda t: allow(t, "validation", "s3:PutObject", "*", Effect="Deny"))
    assert letters(denied, "validation") == letters(of, "validation")


def test_should_give_whoever_is_outside_a_row(prod: StageTemplate) -> None:
    assert letters(altered(stack(prod), _let_another_account_read), "OUTSIDE: account 999999999999") == {"raw": "R"}


def test_should_take_no_endpoints_policy_for_a_right() -> None:
    of = stack(variant("dev, network"))
    assert not [subject for subject in Review([of]).matrix if subject.startswith("OUTSIDE")]


def test_should_mark_letters_that_are_new_and_those_that_are_gone(prod: StageTemplate) -> None:
    def swap(template: Template) -> None:
        for statement in statements(template, "validation"):
            if statement["Action"] == "s3:GetObjectVersion":
                statement["Action"] = "s3:PutObject"

    assert "| validation | -RL+W |" in re.sub(" +", " ", changed(stack(prod), swap))


# Who gains rights.


def test_should_mark_whoever_gains_a_right(prod: StageTemplate) -> None:
    shown = changed(stack(prod), lambda t: allow(t, "validation", "s3:PutObject", objects_of(t, "Processed")))
    assert "## Who gains rights ```diff ! validation function: processed bucket: s3:PutObject ```" in shown
    assert "+ validation function: processed bucket: s3:PutObject" in shown
    assert "- validation function: raw bucket" not in shown


def test_should_not_call_a_right_lost_a_gain(prod: StageTemplate) -> None:
    def narrow(template: Template) -> None:
        kept = [each for each in statements(template, "validation") if each["Action"] != "s3:ListBucket"]
        statements(template, "validation")[:] = kept

    shown = changed(stack(prod), narrow)
    assert "## Who gains rights Nobody." in shown
    assert "- validation function: raw bucket: s3:ListBucket" in shown


def role_of(template: Template, function: str) -> dict[str, Any]:
    """The properties of a function's role."""
    result: dict[str, Any] = template["Resources"][role(template, function)]["Properties"]
    return result


def _drop_deny(template: Template) -> None:
    policy = bucket_policy(template, "Raw")
    policy[:] = [each for each in policy if "s3:TlsVersion" not in str(each)]


def _drop_condition(template: Template) -> None:
    (metrics,) = [each for each in statements(template, "dispatcher") if each["Action"] == "cloudwatch:PutMetricData"]
    del metrics["Condition"]


def _let_another_account_read(template: Template) -> None:
    principal = {"AWS": "arn:aws:iam::999999999999:root"}
    allowed = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": objects_of(template, "Raw")}
    bucket_policy(template, "Raw").append({**allowed, "Principal": principal})


def _let_another_service_in(template: Template) -> None:
    trust = role_of(template, "deidentification")["AssumeRolePolicyDocument"]["Statement"][0]
    trust["Principal"] = {"Service": ["lambda.amazonaws.com", "ec2.amazonaws.com"]}


def _attach_managed_policy(template: Template) -> None:
    role_of(template, "deidentification")["ManagedPolicyArns"] = ["arn:aws:iam::aws:policy/Power"]


def _write_inline_policy(template: Template) -> None:
    statement = {"Effect": "Allow", "NotAction": "iam:*", "NotResource": objects_of(template, "Raw")}
    policy = {"PolicyName": "more", "PolicyDocument": {"Statement": statement}}
    role_of(template, "deidentification")["Policies"] = [policy]


def _let_everyone_decrypt(template: Template) -> None:
    key = key_of(template, "Raw")
    statement = {"Effect": "Allow", "Action": "kms:Decrypt", "Principal": "*", "Resource": "*"}
    key["KeyPolicy"]["Statement"].append(statement)


def _let_key_policy_name_a_role(template: Template) -> None:
    key = key_of(template, "Processed")
    principal = {"AWS": {"Fn::GetAtt": [role(template, "validation"), "Arn"]}}
    statement = {"Effect": "Allow", "Action": "kms:Decrypt", "Principal": principal, "Resource": "*"}
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
        (_add_managed_policy, "! helpful managed policy: anything: s3:ListBucket"),
        (_add_endpoint, "+ everyone: raw bucket through s3 vpc endpoint: s3:GetObject"),
        (_add_endpoint, "+ everyone: anything through logs vpc endpoint: *"),
        (_add_endpoint, "whoever comes through a VPC endpoint, gain 2 more"),
        (_drop_deny, "! everyone: raw bucket: no longer denied: s3:* (where s3:TlsVersion NumericLessThan `1.2`)"),
        (_drop_condition, "! dispatcher function: anything: cloudwatch:PutMetricData ```"),
        (_let_another_account_read, "! account 999999999999: raw bucket: s3:GetObject"),
        (_let_another_service_in, "! deidentification function: assumed by: ec2.amazonaws.com"),
        (_attach_managed_policy, "! deidentification function: managed policy: all of `arn:aws:iam::aws:policy/Power`"),
        (_write_inline_policy, "! deidentification function: anything but raw bucket: * but iam:*"),
        (_let_everyone_decrypt, "! everyone: phi key: kms:Decrypt"),
        (_let_key_policy_name_a_role, "! validation function: research key: kms:Decrypt"),
    ],
)
def test_should_mark_every_way_to_gain_rights(
    prod: StageTemplate, change: Callable[[Template], object], words: str
) -> None:
    assert words in changed(stack(prod), change)


def test_should_mark_a_permissions_boundary_that_is_gone(prod: StageTemplate) -> None:
    boundary = "arn:aws:iam::123456789012:policy/boundary"
    bounded = altered(stack(prod), lambda t: role_of(t, "validation").update(PermissionsBoundary=boundary))
    shown = changed(bounded, lambda t: role_of(t, "validation").pop("PermissionsBoundary"))
    assert f"! validation function: at most: no longer what `{boundary}` allows" in shown


def test_should_tell_every_right_beneath_the_page(prod: StageTemplate) -> None:
    folded = one_line("\n".join(details(Review([stack(prod)]), None)))
    for part in (
        "- pseudonym-key secret: secretsmanager:GetSecretValue",
        "- workflow state machine: states:StartExecution",
        "- anything: cloudwatch:PutMetricData (where cloudwatch:namespace StringEquals `MedicalImaging/Pipeline`)",
        "- reconciliation function: lambda:InvokeFunction (where aws:SourceArn ArnLike reconciliation rule)",
        "- raw bucket: denied: s3:* (where aws:SecureTransport Bool `false`)",
    ):
        assert part in folded


# What leaves, what is kept, what it costs, who is told.


def test_should_tell_profile_and_hash_of_the_code_that_is_deployed(prod: StageTemplate) -> None:
    of = stack(prod)
    profile = load_profile(prod.config.profile)
    stamped = profile.content_hash(Ruleset(profile).digest)
    assert told(of, "What is deployed")["profile"] == f"{profile.name}, hash {stamped[:12]}"
    leaves = told(of, LEAVES)
    assert leaves["options"] == ", ".join(sorted(profile.options))
    assert leaves["released"] == "recognizable-face"
    assert leaves["dates"] == "move 1 to 3650 days into the past"


def test_should_tell_what_another_profile_releases_instead(prod: StageTemplate) -> None:
    def exchange(template: Template) -> None:
        for body in template["Resources"].values():
            variables = body["Properties"].get("Environment", {}).get("Variables", {})
            variables.update({name: "basic" for name in variables if name == "PROFILE"})

    shown = changed(stack(prod), exchange)
    assert "- **options**: **none** (was: clean-descriptors," in shown
    assert "- **dates**: **gone** (was: move 1 to 3650 days into the past)" in shown


def test_should_tell_who_can_read_results_from_where(prod: StageTemplate) -> None:
    plain = told(stack(prod), LEAVES)
    assert plain["results are read by"] == "whomever the account's IAM allows"
    assert plain["results are read from"] == "anywhere"
    assert plain["functions"] == "can reach the internet"
    networks = told(stack(StageTemplate("dev", delivery_networks=["198.51.100.0/24"])), LEAVES)
    assert networks["results are read by"] == plain["results are read by"]
    assert networks["results are read from"] == "198.51.100.0/24"
    restricted = Review(stacks(variant("prod, every option"))).lines[LEAVES]
    assert restricted["results are read by"] == (
        "deidentification function, delivery-eu-central-1 role, processed replication"
    )
    assert restricted["results are read from"] == "198.51.100.0/24, vpce-0123456789abcdef0"
    assert "researchers" in restricted["delivery-eu-central-1 role is assumed by"]
    assert restricted["deliveries are announced to"] == "research@example.org by email"
    assert restricted["copies"] == "to replica processed bucket, to replica raw bucket"
    assert re.fullmatch(r"(\d) of \1 in the VPC", restricted["functions"])


def test_should_tell_how_long_what_is_kept_by_which_key(prod: StageTemplate, dev: StageTemplate) -> None:
    kept = told(stack(prod), KEPT)
    assert kept["raw bucket"] == "for ever; STANDARD_IA after 90 days; survives the stack; phi key"
    assert kept["processed bucket"].endswith("survives the stack; research key")
    assert kept["ledger table"] == "for ever; survives the stack; phi key"
    assert kept["intake-dead-letters queue"] == "14 days; deleted with the stack; phi key"
    assert kept["lambda/ingestion log group"] == "365 days; survives the stack; phi key"
    assert "rotates" in kept["phi key"]
    assert told(stack(dev), KEPT)["raw bucket"].endswith("deleted with the stack")
    durable = Review(stacks(variant("prod, every option"))).lines[KEPT]
    assert durable["raw bucket"] == (
        "400 days; old versions 35 days; STANDARD_IA after 90 days; locked: GOVERNANCE 30 days; survives the stack;"
        " phi key"
    )
    assert durable["replica raw bucket"].endswith("replica phi key")


@pytest.mark.parametrize(
    ("resource_type", "id_part", "values", "words"),
    [
        ("AWS::S3::Bucket", "Raw", {"VersioningConfiguration": {}}, "NO VERSIONS"),
        ("AWS::DynamoDB::Table", "", {"DeletionProtectionEnabled": False}, "NO DELETION PROTECTION"),
        ("AWS::SQS::Queue", "", {"SqsManagedSseEnabled": False, "KmsMasterKeyId": None}, "NOT ENCRYPTED"),
        ("AWS::KMS::Key", "", {"EnableKeyRotation": False}, "DOES NOT ROTATE"),
        ("AWS::CloudWatch::Alarm", "", {"AlarmActions": []}, "alarm**: **tells NOBODY** (new)"),
        ("AWS::CloudWatch::Alarm", "", {"ActionsEnabled": False}, "alarm**: **tells NOBODY** (new)"),
    ],
)
def test_should_write_large_what_is_missing(
    prod: StageTemplate, resource_type: str, id_part: str, values: dict[str, Any], words: str
) -> None:
    def change(template: Template) -> None:
        of_it = properties(template, resource_type, id_part)
        of_it.update(values)
        for name in [name for name, value in of_it.items() if value is None]:
            del of_it[name]

    assert words in changed(stack(prod), change)


def test_should_tell_what_is_deleted_with_the_stack_or_replaced(prod: StageTemplate) -> None:
    for policy, words in (
        ("DeletionPolicy", "deleted with the stack"),
        ("UpdateReplacePolicy", "DELETED WHEN REPLACED"),
    ):
        exposed = stack(prod)
        exposed.template["Resources"][bucket(dict(exposed.template), "Raw")][policy] = "Delete"
        assert words in told(exposed, KEPT)["raw bucket"]


def test_should_tell_whom_alarms_tell(prod: StageTemplate) -> None:
    count = len(prod.resources("AWS::CloudWatch::Alarm"))
    assert told(stack(prod), ALARMS)["notifications topic"].startswith(f"{count} alarms, told to NOBODY YET")
    addressed = Review(stacks(variant("prod, every option"))).lines[ALARMS]
    assert addressed["notifications topic"].endswith("alarms, told to oncall@example.org by email")


def costs(of: Stack) -> dict[str, str]:
    (title,) = [title for title in Review([of]).lines if title.startswith("What it costs")]
    return told(of, title)


def test_should_tell_cost_of_a_million_a_month_and_after_a_year(prod: StageTemplate) -> None:
    million, month, year = costs(stack(prod)).values()
    total, *parts = [float(amount.replace(",", "")) for amount in re.findall(r"[\d,]+\.\d\d", million)]
    assert total == pytest.approx(sum(parts), abs=0.05)
    assert "Step Functions" in million
    assert float(month.split(" ")[0]) < float(year.split(" ")[0])


def test_should_say_so_when_cost_can_not_be_estimated(prod: StageTemplate) -> None:
    def without_ingestion(template: Template) -> None:
        del template["Resources"][logical_id(template, "AWS::Lambda::Function", "Ingestion")]

    assert "can't be estimated" in costs(altered(stack(prod), without_ingestion))["costs"]


# The page.


@pytest.mark.parametrize("name", ["prod", "dev", "local", "prod, every option"])
def test_should_fit_a_page_of_a_hundred_columns(name: str) -> None:
    lines = list(page(Review(stacks(variant(name))), None, "nothing"))
    assert WIDTH == 100
    assert [line for line in lines if len(line) > WIDTH] == []
    assert len(lines) < 100


def test_should_mark_nothing_where_nothing_changes(prod: StageTemplate) -> None:
    shown = changed(stack(prod), lambda _: None)
    assert "## Who gains rights Nobody." in shown
    assert "<summary>Changed rights</summary> None." in shown
    assert not re.search(r"\(new\)|\(was: |\*\*gone\*\*|\| [+-][A-Z]", shown)


def test_should_write_the_same_page_whatever_the_order_in_the_template(prod: StageTemplate) -> None:
    of = stack(prod)
    backwards = altered(of, lambda t: t.update(Resources=dict(reversed(list(t["Resources"].items())))))
    now, same = Review([of]), Review([backwards])
    assert list(page(now, None, "nothing")) == list(page(same, None, "nothing"))
    assert list(details(now, None)) == list(details(same, None))


def test_should_fold_the_details(prod: StageTemplate) -> None:
    lines = list(details(Review([stack(prod)]), None))
    assert lines.count("<details>") == lines.count("</details>") == 2
    assert [lines[at + 2] for at, line in enumerate(lines) if line == "<details>"] == ["", ""]


def test_should_tell_two_stacks_apart(prod: StageTemplate) -> None:
    of = stack(prod)
    raw = of.template["Resources"][bucket(dict(of.template), "Raw")]
    template: Template = {"Resources": {"BucketsRaw00000000": raw}}
    replica = Stack(f"{of.name}-replica", of.account, "eu-west-1", {}, template)
    assert {"raw bucket", "replica raw bucket"} <= set(Review([of, replica]).lines[KEPT])
    copies = {"Fn::GetStackOutput": {"StackName": replica.name, "OutputName": "Copies", "Region": "eu-west-1"}}
    template["Outputs"] = {"Copies": {"Value": {"Fn::GetAtt": ["BucketsRaw00000000", "Arn"]}}}
    assert Names([of, replica]).arn(of, copies) == "replica raw bucket"
    assert "termination protection OFF" in told(replica, "What is deployed")[replica.name]


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
def test_should_synthesize_another_revision_by_its_own_app_for_the_same_stage(tmp_path: Path) -> None:
    (found,) = synthesize_revision("works", {"stage": "prod"}, tmp_path / "scratch")
    assert found.resources["Raw"]["Properties"] == {"BucketName": "prod", "Flag": True}


def review(folder: Path, *arguments: str) -> str:
    assert command.main(["-o", str(folder), *arguments]) == 0
    return (folder / command.PAGE).read_text()


@pytest.mark.usefixtures("repository")
def test_should_print_the_page_and_write_it_with_its_details(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lifecycle = {"Rules": [{"Status": "Enabled", "ExpirationInDays": 7}]}
    raw = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "prod", "LifecycleConfiguration": lifecycle}}
    write_assembly(tmp_path / "out", {"Resources": {"Raw": raw}})
    written = review(tmp_path / "out", "--base", "works", "-c", "stage=prod", "--require-approval", "never")
    printed, _, last = capsys.readouterr().out.rstrip().rpartition("\n")
    assert written.startswith(printed)
    assert last.startswith("Details: ")
    assert last.endswith("out/review.md")
    assert "<details>" not in printed
    assert re.search(r"\*\*compared with\*\*: works \([0-9a-f]+\)", printed)
    assert "- **prod bucket**: **7 days; NO VERSIONS; deleted with the stack** (was: for ever;" in printed


@pytest.mark.usefixtures("repository")
def test_should_say_clearly_that_the_base_can_not_be_synthesized(tmp_path: Path) -> None:
    write_assembly(tmp_path / "out", {"Resources": {}})
    written = review(tmp_path / "out", "--base", "fails", "-c", "stage=prod")
    assert re.search(r"UNKNOWN: fails \(\w+\) could not be synthesized: its app ended with code 1", one_line(written))
    assert "\n```\nno moon\n```\n" in written
    assert "Who gains rights" not in written


@pytest.mark.usefixtures("repository")
def test_should_refuse_a_revision_that_is_not_there(tmp_path: Path) -> None:
    write_assembly(tmp_path / "out", {"Resources": {}})
    with pytest.raises(SystemExit) as refusal:
        command.main(["-o", str(tmp_path / "out"), "--base", "--output=nonsense"])
    assert refusal.value.code == 2
    with pytest.raises(SystemExit) as refusal:
        command.main(["-o", str(tmp_path / "out"), "--base", "gone"])
    assert refusal.value.code == "This clone has no revision 'gone' to compare with: fetch it first."
