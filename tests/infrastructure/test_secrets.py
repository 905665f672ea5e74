"""No secret in a template, in a function's environment or in the repository, and nothing of anybody's machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imaging_pipeline.operations.review.assembly import Stack
from imaging_pipeline.operations.review.names import Names
from tests.infrastructure.conftest import StageTemplate
from tests.infrastructure.tracked import tracked_texts

# Written in pieces, so that this file does not find itself.
SECRETS = {
    "AWS access key id": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "AWS secret access key": r"(?i)secret_?(?:access_?)?key\W{1,6}[A-Za-z0-9/+]{40}\b",
    "private key": r"-----BEGIN [A-Z ]*PRIVATE " + r"KEY-----",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{40})",
    "package registry token": r"\b(?:npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{40})",
    "chat token": r"\bxox[abeoprs]-[A-Za-z0-9-]{20}",
    "JSON web token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "password in a URL": r"[a-z]://[^\s/:@'\"{}<>]+:[^\s/:@'\"{}<>]+@",
}
ASSIGNMENT = re.compile(
    r"(?i)\w*(?:password|passwd|secret|token|api_?key|credential|private_?key|pseudonym_?key)\w*"
    r"""['"]?\s*[:=]\s*['"](?P<value>[^'"\s]{16,})['"]"""
)
RANDOM_RUN = re.compile(r"(?=[A-Za-z+]*\d)(?=[\d+]*[A-Za-z])[A-Za-z0-9+]{16,}")
"""Letters and digits mixed, without a separator: no name is like that, and next to every random key is."""
REFERENCE = re.compile(r"\$\{[\w.:]+\}")
"""Another resource, as Fn::Sub and the snapshots write it."""
HEXADECIMAL_KEY = re.compile(r"\b[0-9a-fA-F]{32,}\b")
FINGERPRINTS = ("S3Key", "CODE_VERSION")
"""What holds the hash of something public: deployed code."""
DYNAMIC_REFERENCE = re.compile(r"\{\{resolve:(?!secretsmanager:(?:arn:|$))")
MACHINE_PATH = re.compile(r"(?<![\w.:/*-])/(?:root|work|opt|Users|home)/(?!user\b)\w+")
REGISTRY = re.compile(
    r"(?:index-url|find-links|registry)\s*=|\b(?:files\.)?python"
    + r"hosted\.org|\bpypi\."
    + r"org|npm"
    + r"js\.(?:org|com)"
)


def secrets_in(text: str) -> Iterator[str]:
    """Name what looks like a secret in a text."""
    for kind, pattern in SECRETS.items():
        if re.search(pattern, text):
            yield kind
    for assignment in ASSIGNMENT.finditer(text):
        if RANDOM_RUN.search(REFERENCE.sub("", assignment["value"])) and "0123456789abcdef" not in assignment["value"]:
            yield f"random value: {assignment[0]}"


def literals(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every literal text of a template, with its path."""
    match node:
        case dict():
            for name, part in node.items():
                yield from literals(part, f"{path}.{name}")
        case list():
            for part in node:
                yield from literals(part, path)
        case str():
            yield path, node


# Templates.


def keys_in(text: str, template: dict[str, Any]) -> set[str]:
    """What may be a key in a text, other than the fingerprints of code that the template deploys."""
    public = {
        found for path, each in literals(template) if path.endswith(FINGERPRINTS) for found in _long_numbers(each)
    }
    return _long_numbers(text) - public


def _long_numbers(text: str) -> set[str]:
    return set(HEXADECIMAL_KEY.findall(text))


def test_should_hold_no_secret_in_any_template(every_stage: StageTemplate) -> None:
    assert list(secrets_in(json.dumps(every_stage.json))) == []
    for path, text in literals(every_stage.json):
        assert not DYNAMIC_REFERENCE.search(text), path
    assert keys_in(json.dumps(every_stage.json), every_stage.json) == set()


def test_should_let_aws_make_the_pseudonym_key(every_stage: StageTemplate) -> None:
    secrets = every_stage.resources("AWS::SecretsManager::Secret").values()
    assert secrets
    for secret in secrets:
        assert "SecretString" not in secret["Properties"]
        assert secret["Properties"]["GenerateSecretString"]["PasswordLength"] == 64


def test_should_take_no_secret_as_a_parameter_or_give_one_as_an_output(every_stage: StageTemplate) -> None:
    assert set(every_stage.json["Parameters"]) == {"BootstrapVersion"}
    assert "PseudonymKey" not in json.dumps(every_stage.json["Outputs"])
    assert "PseudonymKey" not in json.dumps(list(every_stage.resources("AWS::SSM::Parameter").values()))


def test_should_give_functions_names_and_arns_only(every_stage: StageTemplate) -> None:
    stack = Stack(every_stage.config.name, "", "", {}, every_stage.json)
    names = Names([stack])
    for function in every_stage.resources("AWS::Lambda::Function").values():
        for name, value in function["Properties"].get("Environment", {}).get("Variables", {}).items():
            if re.search("SECRET|KEY|TOKEN|PASSWORD", name):
                assert name.endswith(("_ARN", "_NAME", "_ID")), name
                assert isinstance(value, dict), f"{name} is a reference"
            text = names.resolved(stack, value)
            assert "{{resolve:" not in text
            assert keys_in(text, every_stage.json) == set()
            assert name.endswith(FINGERPRINTS) or list(secrets_in(f"secret = '{text}'")) == []


def test_should_notice_a_secret_in_a_template() -> None:
    key = "0123456789abcdef" * 4
    version = {"Environment": {"CODE_VERSION": "f" * 64}}
    assert keys_in(f"{key} and {'f' * 64}", version) == {key}
    assert DYNAMIC_REFERENCE.search("{{resolve:ssm-secure:/pseudonym/key:1}}")
    assert DYNAMIC_REFERENCE.search("{{resolve:secretsmanager:pseudonym-key:SecretString}}")
    assert not DYNAMIC_REFERENCE.search("{{resolve:secretsmanager:arn:aws:secretsmanager:eu-west-1:1:secret:k}}")


# Repository.


def findings(path: Path, text: str) -> list[str]:
    """Name what must not be in a tracked file."""
    found = list(secrets_in(text))
    found += [f"path of a machine: {match[0]}" for match in MACHINE_PATH.finditer(text)]
    found += [f"host of a registry: {match[0]}" for match in REGISTRY.finditer(text)]
    return [f"{path}: {each}" for each in found]


def test_should_track_no_secret_and_nothing_of_a_machine() -> None:
    looked_at = dict(tracked_texts())
    assert Path("app.py") in looked_at
    assert [finding for path, text in looked_at.items() for finding in findings(path, text)] == []


RANDOM = "q7Zx9Lw2Vb4Nm8Kd1Rt6Yp3Hs5Gf0JcA"


@pytest.mark.parametrize(
    "planted",
    [
        "AK" + "IAQ3EGTUVWXYZ23456",
        "aws_secret_access_" + f"key = {RANDOM}12345678",
        "-----BEGIN RSA PRIVATE " + "KEY-----",
        "ghp" + "_" + RANDOM + "abcd",
        "npm" + "_" + RANDOM + "abcd",
        "xox" + "b-123456789012-abcdefghijkl",
        "ey" + "JhbGciOiJIUzI1NiJ9.ey" + "JzdWIiOiIxMjM0NTYifQ.abcdefghijklmnop",
        "https://someone" + ":hunter2@example.org/simple",
        "password" + f' = "{RANDOM}"',
        "password" + f' = "${{Stack}}{RANDOM}"',
        '"pseudonym_' + 'key": "' + "9b3e07d1c5a2f846" * 4 + '"',
        "/ro" + "ot/project/file",
        "/home" + "/alice/project",
        "--extra-index" + "-url = x",
        "https://py" + "pi.org/simple",
    ],
)
def test_should_notice_what_must_not_be_tracked(planted: str) -> None:
    assert findings(Path("planted"), f"before\n{planted}\nafter\n")


@pytest.mark.parametrize(
    "harmless",
    [
        'PSEUDONYM_SECRET_ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:pseudonym-key"',
        "arn:aws:iam::123456789012:root",
        "--hash=sha256:" + "0123456789abcdef" * 4,
        'secret_name="medical-imaging-pipeline-prod/pseudonym-key"',
        '"PSEUDONYM_SECRET_ARN": "${PseudonymKeySecretD9269686}"',
    ],
)
def test_should_not_cry_wolf(harmless: str) -> None:
    assert findings(Path("harmless"), harmless) == []
