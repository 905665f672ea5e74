"""What the command says to people who mistype, and how it finds account, region and stage."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from pydicom.data import get_testdata_file

from cli import VERSION
from cli.__main__ import main
from cli.commands import COMMANDS, explain
from cli.console import sentence
from cli.parser import command_line
from cli.stage import Stage, connect

CT = str(get_testdata_file("CT_small.dcm"))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the last line of what is said of arguments that are refused."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explian"], "did you mean explain?"),
        (["quarantine", "lst"], "did you mean list?"),
        (["audit", "--stage", "dev", "--sinse", "2026-11-23"], "there is no option --sinse; did you mean --since?"),
        (["deidentify", "IN", "--dry"], "there is no option --dry; did you mean --dry-run?"),
        (["audit", "--stage", "dev", "--since", "2026-11", "--event", "realeased"], "did you mean released?"),
        (["dead-letters", "replay", "--stage", "dev", "intak"], "did you mean intake?"),
        (["explain", "PatientNmae"], "did you mean PatientName?"),
        (["explain", "PatientName", "--sop-class", "CTImageStorge"], "did you mean CTImageStorage?"),
        (["explain", "PatientName", "PatientID"], "'PatientID' is one argument too many"),
        (["completion", "fish"], "'fish' is not known; it is one of bash, zsh"),
        (["links", "--stage", "dev", "a/b/c.dcm"], "the following arguments are required: --for"),
        (["audit", "--stage", "dev", "--since", "2026-13-45"], "no calendar or clock has 2026-13-45"),
        (["audit", "--stage", "dev", "--since", "2026-02-29"], "no calendar or clock has 2026-02-29"),
        (["audit", "--stage", "dev", "--since", "2026-11-23T25"], "no calendar or clock has 2026-11-23T25"),
        (["audit", "--stage", "dev", "--since", "monday"], "say it in UTC as 2026-11-23 or 2026-11-23T14:30"),
    ],
)
def test_should_refuse_nonsense_and_say_what_may_have_been_meant(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, *arguments)


def test_should_take_a_time_as_its_tables_show_it() -> None:
    parse = command_line(["audit"]).parse_args
    assert parse(["audit", "--stage", "dev", "--since", "2026-11-23 14:30"]).since == "2026-11-23T14:30"
    assert parse(["audit", "--stage", "dev", "--since", "2026-11-23T14:30Z"]).since == "2026-11-23T14:30"


def test_should_list_the_commands_when_called_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert all(command in said for command in COMMANDS)


def test_should_take_the_stage_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGE", "local")
    assert command_line(["reconcile"]).parse_args(["reconcile"]).stage == "local"
    assert command_line(["reconcile"]).parse_args(["reconcile", "--stage", "dev"]).stage == "dev"


def test_should_need_a_stage_where_none_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STAGE", raising=False)
    assert "--stage" in refused(capsys, "reconcile")


def test_should_tell_of_a_defect_where_it_is_and_nothing_that_was_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("DOE^JANE")

    monkeypatch.setattr(explain, "attribute_text", fail)
    assert main(["explain", "PatientName"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"explain: stopped by a defect of imaging-pipeline {VERSION} at cli/commands/explain.py:")
    assert "ValueError" not in said
    assert "DOE" not in said


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set up an AWS configuration with a profile for each of two regions, and no session yet."""
    (tmp_path / "config").write_text(
        "[profile ward]\nregion = eu-west-3\naws_access_key_id = ward\naws_secret_access_key = w\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "e")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    for name in ("AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    yield
    boto3.DEFAULT_SESSION = None


@pytest.mark.usefixtures("configuration")
@pytest.mark.parametrize(
    ("variable", "profile", "region", "found"),
    [
        ("eu-north-1", None, None, ("eu-north-1", "environment")),
        ("eu-north-1", None, "eu-south-1", ("eu-south-1", "environment")),
        (None, "ward", None, ("eu-west-3", "ward")),
        (None, "ward", "eu-south-1", ("eu-south-1", "ward")),
    ],
)
def test_should_find_region_and_credentials_as_the_aws_cli_does(
    variable: str | None,
    profile: str | None,
    region: str | None,
    found: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if variable:
        monkeypatch.setenv("AWS_REGION", variable)
    connect(profile, region)
    session = Stage("test").session
    credentials = session.get_credentials()
    assert credentials is not None
    assert (session.region_name, credentials.access_key) == found
    assert Stage("test").region == found[0]


@pytest.mark.usefixtures("configuration")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--profile", "nobody"], "The AWS configuration has no such profile: check --profile, or AWS_PROFILE."),
        ([], "No region is chosen: add --region, or set AWS_REGION."),
    ],
)
def test_should_say_what_is_missing_of_the_aws_configuration(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["redrive", "--stage", "test", *arguments]) == 1
    assert capsys.readouterr().err == f"redrive: {said}\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NoCredentialsError(), "sign in, or name an AWS profile with --profile"),
        (EndpointConnectionError(endpoint_url="https://x"), "can't be reached: check region and network"),
        (ClientError({"Error": {"Code": "AccessDeniedException"}}, "Query"), "docs/rights.md"),
        (ClientError({"Error": {"Code": "ExpiredToken"}}, "Query"), "sign in again"),
    ],
)
def test_should_say_what_to_do_without_names_of_classes(error: Exception, said: str) -> None:
    assert said in sentence(error)
    assert type(error).__name__ not in sentence(error)


def test_should_print_a_line_for_machines_for_each_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PSEUDONYM_KEY", "5a" * 32)
    assert main(["deidentify", CT, str(tmp_path / "out"), "--json"]) == 0
    [outcome] = map(json.loads, capsys.readouterr().out.splitlines())
    assert (outcome["source"], outcome["verdict"]) == (CT, "delivered")


def test_should_print_a_line_for_machines_for_each_attribute(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--all", "--profile", "basic", "--json"]) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [date] = [each for each in documents if each["attribute"] == "ContentDate"]
    assert (date["action"], date["by_type"]["1"]) == ("Z/D", "D")
    assert main(["explain", "PatientName", "--json"]) == 0
    profiles = [json.loads(line)["profile"] for line in capsys.readouterr().out.splitlines()]
    assert profiles == ["basic", "research"]


def test_should_say_reasons_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PSEUDONYM_KEY", "5a" * 32)
    folder = tmp_path / "in" / ("long " * 30)
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("no DICOM")
    assert main(["deidentify", str(tmp_path / "in"), str(tmp_path / "out")]) == 1
    out = capsys.readouterr().out
    assert "NOT_DICOM: There is no DICM prefix" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "notes.txt" in out


def test_should_show_a_dry_run_in_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PSEUDONYM_KEY", "5a" * 32)
    assert main(["deidentify", CT, "--dry-run"]) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if "Output key" not in line]
    assert max(map(len, table)) <= 80


def test_should_print_a_dry_run_for_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PSEUDONYM_KEY", "5a" * 32)
    (tmp_path / "a.dcm").write_bytes(Path(CT).read_bytes())
    (tmp_path / "b.txt").write_text("no DICOM")
    assert main(["deidentify", str(tmp_path), "--dry-run", "--json"]) == 1
    compared, refusal = map(json.loads, capsys.readouterr().out.splitlines())
    [name] = [each for each in compared["changes"] if each["attribute"] == "PatientName"]
    assert (name["before"], name["action"]) == ("CompressedSamples^CT1", "pseudonym")
    assert (refusal["output_key"], refusal["findings"][0]["code"]) == (None, "NOT_DICOM")


COMPLETE = """
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_imaging_pipeline imaging-pipeline "${@: -1}"
echo "${COMPREPLY[*]}"
"""


@pytest.mark.parametrize(
    ("line", "proposed"),
    [
        ("exp", "explain"),
        ("dead-letters re", "replay"),
        ("quarantine retry --deid", "--deidentification-profile"),
        ("deidentify --profile b", "basic"),
        ("deidentify IN --dry-run --work", "--workers"),
        ("audit --json --event rel", "released"),
        ("dead-letters replay --json int", "intake"),
        ("deidentify ./some", ""),  # the shell's own files
    ],
)
def test_should_complete_in_a_shell(line: str, proposed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out + COMPLETE
    words = ("imaging-pipeline", *line.split())
    finished = subprocess.run(("bash", "-c", script, "bash", *words), capture_output=True, text=True, check=True)
    assert (finished.stdout.strip(), finished.stderr) == (proposed, "")


def test_should_complete_in_zsh_through_its_own_adapter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith("autoload -U +X bashcompinit && bashcompinit\n")
