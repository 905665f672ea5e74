"""Every command's output fits 80 columns, whatever the keys' length; ids stay whole, and `--json` tells all."""

import json

import pytest

from runtime.contract.audit import AuditEvent
from runtime.contract.ledger import LedgerStatus
from runtime.contract.names import Output
from tests.unit.operations.conftest import Operator
from tests.unit.operations.test_audit_command import link, verdict
from tests.unit.operations.test_dead_letters import send
from tests.unit.operations.test_quarantine import quarantine

LONG_KEY = f"site-{'x' * 200}/2026/11/23/study one/{'series-' * 20}/IM0001.dcm"
RESULT = "/".join(f"2.25.{'1' * 39}{number}" for number in range(4)) + ".dcm"
PRINCIPAL = f"arn:aws:sts::123456789012:assumed-role/{'Operator' * 8}/ada@example.org"


def prepare(operator: Operator) -> str:
    """Have an object in quarantine for many reasons, failures, dead letters and records; return the object's id."""
    stage = operator.stage
    object_id = quarantine(stage, "RISK_BURNED_IN_ANNOTATION RISK_SECONDARY_CAPTURE CONFLICTING_INSTANCE", LONG_KEY)
    failed = stage.buckets.upload(b"failed", LONG_KEY + ".failed")
    stage.finish(failed, LedgerStatus.FAILED, error="Lambda.TooManyRequestsException")
    send(stage, Output.INTAKE_DEAD_LETTERS_URL, {"key": LONG_KEY})
    verdict(stage, "2026-11-23T10:00:00.000Z", AuditEvent.DELIVERED, object_id, output_key=RESULT, profile="research")
    link(stage, "2026-11-24T10:00:00.000Z", RESULT, PRINCIPAL)
    return object_id


COMMANDS: list[tuple[str, ...]] = [
    ("quarantine", "list"),
    ("quarantine", "list", "--keys"),
    ("quarantine", "list", "--all", "--keys"),
    ("where", "{}"),
    ("where", "{}", "--keys"),
    ("status",),
    ("status", "quarantined"),
    ("status", "failed", "--keys"),
    ("replay", "{}"),
    ("redrive", "--dry-run"),
    ("redrive",),
    ("dead-letters", "list"),
    ("dead-letters", "replay"),
    ("reconcile", "--check-only"),
    ("audit", "--object", "{}"),
    ("audit", "--since", "2026-11-01"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_should_fit_80_columns(
    command: tuple[str, ...],
    operator: Operator,
    functions: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    object_id = prepare(operator)
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = operator.run(*(word.format(object_id) for word in command))
    assert out
    assert {line for line in out.splitlines() if len(line) > 80} == set()
    if command[0] in {"quarantine", "where", "audit"}:
        assert object_id in out


def test_should_tell_machines_all(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(operator)
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = operator.run("quarantine", "list", "--keys", "--json")
    assert json.loads(out)["key"] == LONG_KEY
