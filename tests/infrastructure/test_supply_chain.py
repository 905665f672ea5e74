"""Where what is not ours comes from: locks, bills of materials, and the report of known vulnerabilities."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from local.cdk import CDK_CLI
from tests.infrastructure.conftest import REPOSITORY
from tests.infrastructure.tracked import tracked_texts

LOCKS = ("runtime/requirements.txt", "requirements.txt", "requirements-dev.txt", "local/requirements.txt")
ONE_ENVIRONMENT = ("runtime/requirements.txt", "requirements.txt", "requirements-dev.txt")
PIN = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,-]+\])?==(?P<version>[\w.!+]+)(?: ?;[^#]*)?")
PINNED = re.compile(PIN.pattern + r"(?: --hash=sha256:[0-9a-f]{64})+")


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


def make(target: str, *arguments: str, **environment: str) -> str:
    """Run a target as it is written, in the environment that is there."""
    command = ["make", "--silent", "--old-file=.venv/ready", target, *arguments]
    # Without what a make that runs these tests was told.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=inherited | environment, check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def bills(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the lines of `make synth` write, where pip uses a mirror."""
    folder = tmp_path_factory.mktemp("bills")
    lines = [line for line in make("synth", "--just-print", "STAGE=prod").splitlines() if "cyclonedx" in line]
    for line in lines:
        command = line.replace("cdk.out", str(folder)).split()
        mirror = {"PIP_INDEX_URL": "https://mirror.example.org/simple"}
        done = subprocess.run(command, cwd=REPOSITORY, env=os.environ | mirror, check=True, capture_output=True)
        assert done.stderr == b""
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "lock"), [("sbom-layer.cdx.json", "runtime/requirements.txt"), ("sbom-tools.cdx.json", "requirements.txt")]
)
def test_should_list_every_pinned_package_with_its_version_and_hashes(
    bills: dict[str, str], name: str, lock: str
) -> None:
    bill = json.loads(bills[name])
    assert bill["metadata"]["component"]["name"] == "medical-imaging-pipeline"
    components = {component["purl"]: component for component in bill["components"]}
    for line in requirements(lock):
        pin = PINNED.fullmatch(line)
        assert pin is not None
        component = components.pop(f"pkg:pypi/{pin['name'].lower()}@{pin['version']}")
        (source,) = component["externalReferences"]
        assert {digest["content"] for digest in source["hashes"]} == set(re.findall(r"sha256:([0-9a-f]{64})", line))
    assert components == {}


def test_should_write_the_same_bills_everywhere(bills: dict[str, str]) -> None:
    for text in bills.values():
        for varying in ("timestamp", "serialNumber", "example.org", str(REPOSITORY)):
            assert varying not in text


# Advisories.


class Database(HTTPServer):
    """A stand-in for the OSV database, which knows one vulnerability of one package."""

    def __init__(self, vulnerable: str) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.vulnerable = vulnerable
        self.arguments = f"ARGS=-s osv --osv-url http://127.0.0.1:{self.server_port}/v1/query"


class Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Database)
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        package = {"name": asked["package"]["name"], "ecosystem": "PyPI"}
        ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}]
        affected = [{"package": package, "ranges": ranges, "versions": [asked["version"]]}]
        advisory = {"id": "PYSEC-2099-1", "details": "made up", "affected": affected}
        known = package["name"] == self.server.vulnerable
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"vulns": [advisory]} if known else {}).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def database(socket_enabled: None, request: pytest.FixtureRequest) -> Iterator[Database]:
    with Database(request.param) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("database", ["pydicom"], indirect=True)
def test_should_show_a_vulnerability_and_the_version_that_mends_it(database: Database) -> None:
    report = make("advisories", "LOCKED=runtime/requirements.txt local/requirements.txt", database.arguments)
    version = pins("runtime/requirements.txt")["pydicom"]
    assert re.search(rf"^pydicom +{re.escape(version)} +PYSEC-2099-1 +99.0", report, flags=re.MULTILINE)


@pytest.mark.parametrize("database", ["nothing"], indirect=True)
def test_should_say_that_nothing_is_known_of_a_lock_without_vulnerabilities(database: Database) -> None:
    report = make("advisories", "LOCKED=local/requirements.txt", database.arguments)
    assert report == "No known vulnerability: local/requirements.txt\n"


def test_should_say_in_one_line_that_the_database_can_not_be_reached() -> None:
    report = make("advisories", HTTPS_PROXY="http://127.0.0.1:9")
    assert report.count("\n") == 1
    assert report.startswith("Vulnerabilities are unknown: the database can't be reached")


def test_should_ask_about_every_lock_and_not_call_packages_safe_that_the_database_lacks() -> None:
    command = make("advisories", "--just-print")
    assert [lock for lock in LOCKS if f"-r {lock}" not in command] == []
    assert "--strict" in command


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
