"""Faults between the functions and AWS: a proxy that answers with AWS's own errors, or breaks the connection."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from local.environment import PROJECT_ROOT
from tests.stress.deployed import wait_for

Rule = Mapping[str, Any]

THROTTLES: Final = {
    "s3": {"code": "SlowDown", "status": 503},
    "dynamodb": {"code": "ProvisionedThroughputExceededException", "status": 400},
    "stepfunctions": {"code": "ThrottlingException", "status": 400},
    "sqs": {"code": "RequestThrottled", "status": 403},
    "secretsmanager": {"code": "ThrottlingException", "status": 400},
}
BROKEN: Final = {
    "s3": {"code": "InternalError", "status": 500},
    "dynamodb": {"code": "InternalServerError", "status": 500},
    "stepfunctions": {"code": "InternalError", "status": 500},
    "sqs": {"code": "InternalError", "status": 500},
    "secretsmanager": {"code": "InternalServiceError", "status": 500},
}


def mixture(share: float) -> list[Rule]:
    """Return rules by which this share of all requests fails: in five ways, each as often.

    A request whose answer is cut off was carried out: whoever repeats it does it twice.
    """
    ways: list[Rule] = [
        *({"service": service, "error": error} for service, error in THROTTLES.items()),
        *({"service": service, "error": error} for service, error in BROKEN.items()),
        {"service": "*", "reset": True},
        {"service": "*", "response": {"abort_frac": 0.5}},
        {"service": "*", "timeout_ms": 2000},
    ]
    rules: list[Rule] = []
    passing = 1.0
    for kind in (ways[:5], ways[5:10], ways[10:11], ways[11:12], ways[12:]):
        # Rules are asked one after another, so a later one sees only what the ones before let pass.
        probability = share / 5 / passing
        rules += [{**way, "probability": probability} for way in kind]
        passing -= share / 5
    return rules


class Faults:
    """The running proxy.

    Parameters
    ----------
    endpoint
        Its address.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._before: Counter[str] = Counter()

    def inject(self, rules: Sequence[Rule]) -> None:
        """Replace the rules, and count from zero."""
        self._ask("rules", "POST", rules)
        self._before = self._faulted()

    def injected(self) -> Counter[str]:
        """Count the faults by service since the rules were given."""
        return self._faulted() - self._before

    def is_up(self) -> bool:
        with suppress(OSError):
            return bool(self._ask("health"))
        return False

    def _faulted(self) -> Counter[str]:
        return Counter({each["service"]: each["faulted"] for each in self._ask("stats")["by_service"]})

    def _ask(self, what: str, method: str = "GET", body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.endpoint}/_microburst/{what}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as answer:
            content = answer.read()
        return json.loads(content) if content else None


@contextmanager
def faulty(upstream: str) -> Iterator[Faults]:
    """Run the proxy in front of the emulator."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "tests.stress.proxy",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--upstream",
        upstream,
    ]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        faults = Faults(f"http://127.0.0.1:{port}")
        wait_for(faults.is_up, 30)
        yield faults
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
