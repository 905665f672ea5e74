"""Where what is not ours comes from: locks, bills of materials, and the report of known vulnerabilities."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from imaging_pipeline import advisories, bill_of_materials
from imaging_pipeline.bill_of_materials import LAYER, TOOLS
from local.cdk import CDK_CLI
from tests.infrastructure.conftest import REPOSITORY
from tests.infrastructure.tracked import tracked_texts

LOCKS = ("runtime/requirements.txt", "requirements.txt", "requirements-dev.txt", "local/requirements.txt")
ONE_ENVIRONMENT = ("runtime/requirements.txt", "requirements.txt", "requirements-dev.txt")
PIN = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,-]+\])?==(?P<version>[\w.!+]+)(?: ?;[^#]*)?")
PINNED = re.compile(PIN.pattern + r"(?: --hash=sha256:[0-9a-f]{64})+")
INDEX = "pypi" + ".org"


def requirements(path: str) -> list[str]:
    """Lines of a requirements file, with those that go on put together."""
    text = (REPOSITORY / path).read_text().replace("\\\n", " ")
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if line.strip() and line[0] != "#"]


def pins(path: str) -> dict[str, str]:
    found = [PIN.match(line) for line in requirements(path)]
    return {pin["name"].lower().replace("_", "-"): pin["version"] for pin in found if pin}


# Locks.


@pytest.mark.parametrize("lock", LOCKS)
def test_should_pin_every_requirement_by_version_and_hash(lock: str) -> None:
    lines = requirements(lock)
    assert len(lines) > 5
    assert [line for line in lines if not PINNED.fullmatch(line)] == []


def test_should_not_take_a_line_for_pinned_that_is_not() -> None:
    digest = "0" * 64
    for line in (
        "a>=1",
        "a==1",
        f"a --hash=sha256:{digest}",
        "a==1 --hash=md5:00",
        "-e .",
        f"a @ https://b/c.whl --hash=sha256:{digest}",
    ):
        assert not PINNED.fullmatch(line)
    assert PINNED.fullmatch(f"a==1.0 --hash=sha256:{digest} --hash=sha256:{digest}")


@pytest.mark.parametrize("lock", LOCKS)
def test_should_lock_what_is_asked_for(lock: str) -> None:
    asked = requirements(lock.replace(".txt", ".in"))
    assert [line for line in asked if not PIN.fullmatch(line)] == []
    assert pins(lock.replace(".txt", ".in")).items() <= pins(lock).items()


def test_should_lock_a_package_that_is_installed_together_at_one_version() -> None:
    versions: dict[str, set[str]] = {}
    for lock in ONE_ENVIRONMENT:
        for name, version in pins(lock).items():
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_should_install_nothing_without_its_hash() -> None:
    for path in ("Makefile", "imaging_pipeline/building_blocks/dependency_layer.py", "local/emulator.py"):
        assert "--require-hashes" in (REPOSITORY / path).read_text(), path


def test_should_pin_the_cdk_cli_in_one_place() -> None:
    assert re.fullmatch(r"aws-cdk@\d+\.\d+\.\d+", CDK_CLI)
    version = CDK_CLI.split("@")[1]
    assert [str(path) for path, text in tracked_texts() if version in text] == ["local/cdk.py"]


# Bills of materials.


@pytest.fixture(scope="module")
def bills(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("bills")
    assert bill_of_materials.main(["-o", str(folder), "--context", "stage=prod"]) == 0
    return {name: json.loads((folder / name).read_text()) for name in (LAYER, TOOLS)}


@pytest.mark.parametrize(("name", "lock"), [(LAYER, "runtime/requirements.txt"), (TOOLS, "requirements.txt")])
def test_should_list_every_pinned_package_with_its_version_and_hashes(
    bills: dict[str, Any], name: str, lock: str
) -> None:
    components = {component["purl"]: component for component in bills[name]["components"]}
    for line in requirements(lock):
        pin = PINNED.fullmatch(line)
        assert pin is not None
        component = components.pop(f"pkg:pypi/{pin['name'].lower()}@{pin['version']}")
        (source,) = component["externalReferences"]
        assert {digest["content"] for digest in source["hashes"]} == set(re.findall(r"sha256:([0-9a-f]{64})", line))
    cdk_cli = {f"pkg:npm/{CDK_CLI}"} if name == TOOLS else set()
    assert set(components) == cdk_cli


@pytest.mark.parametrize("name", [LAYER, TOOLS])
def test_should_write_valid_bills_that_name_the_project(bills: dict[str, Any], name: str) -> None:
    bill = bills[name]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    assert bill["metadata"]["component"]["name"] == "medical-imaging-pipeline"


def test_should_write_the_same_bills_everywhere(
    bills: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example.org/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://other.example.org/simple")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.chdir(tmp_path)
    bill_of_materials.main(["-o", str(tmp_path)])
    for name in (LAYER, TOOLS):
        text = (tmp_path / name).read_text()
        assert json.loads(text) == bills[name]
        assert "timestamp" not in text
        assert "serialNumber" not in text
        assert "example.org" not in text
        assert str(REPOSITORY) not in text
        sources = [
            source["url"]
            for component in bills[name]["components"]
            for source in component.get("externalReferences", ())
        ]
        assert {url.split("/")[2] for url in sources} == {INDEX}


# Advisories.


class Database(HTTPServer):
    """A stand-in for the OSV database: knows one vulnerability of pydicom, and may keep silent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.url = f"http://127.0.0.1:{self.server_port}/v1/query"


class Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Database)
        self.server.may_answer.wait()
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        package = {"name": "pydicom", "ecosystem": "PyPI"}
        ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}]
        advisory = {
            "id": "PYSEC-2099-1",
            "details": "made up",
            "affected": [{"package": package, "ranges": ranges, "versions": [asked["version"]]}],
        }
        known = asked["package"]["name"] == "pydicom"
        with suppress(BrokenPipeError):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"vulns": [advisory]} if known else {}).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def database(socket_enabled: None) -> Iterator[Database]:
    server = Database()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.may_answer.set()
    server.shutdown()
    server.server_close()
    thread.join()


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert advisories.main(arguments) == 0, "a report fails nothing"
    return capsys.readouterr().out


@pytest.fixture
def only_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advisories, "LOCKS", {"runtime/requirements.txt": "the Lambda layer"})


@pytest.mark.usefixtures("only_the_layer")
def test_should_show_a_vulnerability_prominently(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    report = printed(capsys, "-s", "osv", "--osv-url", database.url)
    count = len(requirements("runtime/requirements.txt"))
    assert f"!!! runtime/requirements.txt, the Lambda layer: 1 KNOWN VULNERABILITIES in {count} packages" in report
    version = pins("runtime/requirements.txt")["pydicom"]
    assert re.search(rf"pydicom +{version} +PYSEC-2099-1 +mended by 99.0", report)


def test_should_say_that_nothing_is_known_of_a_lock_without_vulnerabilities(
    database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advisories, "LOCKS", {"local/requirements.txt": "the emulator"})
    report = printed(capsys, "-s", "osv", "--osv-url", database.url)
    count = len(requirements("local/requirements.txt"))
    assert report == f"local/requirements.txt, the emulator: {count} packages, no known vulnerability\n"


@pytest.mark.parametrize("service", ["pypi", "osv"])
def test_should_say_in_one_line_that_the_database_can_not_be_reached(
    service: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    report = printed(capsys, "-s", service)
    assert report == "Vulnerabilities are unknown: the database can't be reached (ProxyError).\n"


@pytest.mark.usefixtures("only_the_layer")
def test_should_not_wait_for_a_database_that_keeps_silent(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    database.may_answer.clear()
    report = printed(capsys, "-s", "osv", "--osv-url", database.url, "--seconds", "3")
    assert report == "Vulnerabilities are unknown: the database can't be reached (it took too long to answer).\n"


def test_should_not_call_unknown_packages_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip-audit says "No known vulnerabilities found" where it is answered 404 about everything."""
    skipped = {"name": "pydicom", "skip_reason": "Dependency not found"}
    with pytest.raises(advisories.UnreachableError, match="nothing about any package"):
        _asked([skipped], monkeypatch)
    findings = _asked([skipped, {"name": "boto3", "version": "1", "vulns": []}], monkeypatch)
    assert (findings.asked, findings.unknown, findings.vulnerable) == (2, ["pydicom"], [])


def _asked(dependencies: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> advisories.Findings:
    answer = subprocess.CompletedProcess([], 0, json.dumps({"dependencies": dependencies}), "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    return advisories.ask(Path("lock"), [], 1)


# The job in docs/review.md.


@pytest.fixture(scope="module")
def job() -> str:
    """The example in the documentation."""
    text = (REPOSITORY / "docs" / "review.md").read_text()
    (block,) = re.findall(r"^```yaml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return str(block)


def test_should_show_a_job_of_pinned_actions_that_may_only_read(job: str) -> None:
    assert "permissions:\n  contents: read\njobs:" in job
    used = re.findall(r"uses: (\S+)", job)
    assert len(used) == 3
    assert [action for action in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)] == []


def test_should_show_a_job_whose_commands_exist_and_take_nothing_from_expressions(job: str) -> None:
    commands = re.findall(r"run: (.+)", job)
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    assert [command for command in commands if "${{" in command] == []
    called = {name for command in commands for name in re.findall(r"make (\w+)", command)}
    assert {"synth", "advisories"} == called <= targets
