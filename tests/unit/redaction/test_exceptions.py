"""Of an error nothing but its class, AWS's code and its line in our code gets out, whoever raises it and where."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import traceback
from collections.abc import Callable, Iterator

import pytest
from botocore.exceptions import ClientError

from runtime.aws import storage
from runtime.contract.names import Function
from runtime.observability.entry_points import StepFailedError
from runtime.observability.redaction import describe, error_code
from tests.markers import Search
from tests.unit.operations.conftest import Operator
from tests.unit.redaction.conftest import AllFunctions, Faults, LambdaRuntime, Outcome
from tests.unit.redaction.provocations import ERRORS, EXITS, KEY, MARKER, Provocation, key_error

SEARCH = Search([MARKER])
EVERY = (*ERRORS, *EXITS)
QUOTING = ("recursion", "recursion_in_json", "json_value", "text_encoding", "named_by_its_object")
"""Errors that hold a marker, or are raised over one, and whose own text does not tell it."""

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::pytest.PytestUn{kind}Warning")
    for kind in ("handledThreadException", "raisableException")
]


@pytest.mark.parametrize("provoke", EVERY, ids=lambda provoke: provoke.__name__)
def test_should_provoke_errors_that_tell_the_marker(provoke: Provocation) -> None:
    """Or the tests below would show nothing."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - of all kinds
        provoke()
    if provoke.__name__ not in QUOTING:
        assert SEARCH.find("".join(traceback.format_exception(caught.value)))


@pytest.mark.parametrize("function", Function)
def test_should_tell_nothing_of_any_error_in_any_function(
    function: Function, all_functions: AllFunctions, lambda_runtime: LambdaRuntime, faults: Faults
) -> None:
    event = all_functions.event(function, KEY)
    for provoke in EVERY:
        faults.provoke(provoke)
        outcome = lambda_runtime.invoke(function, event)
        faults.provoke(None)
        _assert_contained(outcome, provoke.__name__)
        assert failures(outcome), (function, provoke.__name__, outcome.written)


@pytest.mark.parametrize("function", Function)
def test_should_tell_nothing_of_an_error_at_any_request(
    function: Function,
    all_functions: AllFunctions,
    lambda_runtime: LambdaRuntime,
    faults: Faults,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """De-identification copies in parts here, of which threads of a pool do most."""
    for limit, size in (("SINGLE_PUT_LIMIT", 0), ("MINIMUM_PART", 0), ("COPY_PART", 8192)):
        monkeypatch.setattr(storage, limit, size)
    event = all_functions.event(function, KEY)
    for after, provoke in enumerate(itertools.cycle((key_error, *EVERY)), 1):
        faults.provoke(provoke, after)
        outcome = lambda_runtime.invoke(function, event)
        happened = faults.happened
        faults.provoke(None)
        _assert_contained(outcome, f"{provoke.__name__} at request {after}")
        if not happened:
            break
    assert after > 2, "the function asks AWS for something"


@pytest.mark.parametrize("function", Function)
def test_should_tell_nothing_of_an_event_that_it_does_not_understand(
    function: Function, all_functions: AllFunctions, lambda_runtime: LambdaRuntime
) -> None:
    for event in ({MARKER: KEY}, {"Records": [{"body": KEY}]}, {"Records": KEY}, {"object": [KEY]}, {"start": KEY}):
        outcome = lambda_runtime.invoke(function, event)
        _assert_contained(outcome, str(event))


def _assert_contained(outcome: Outcome, what: str) -> None:
    """Check what was written and raised. An answer goes to the workflow or the queue, which have the key already."""
    assert not SEARCH.find(outcome.told), f"{what}: {outcome.told}"
    if outcome.error is not None:
        assert type(outcome.error) is StepFailedError, what
        assert outcome.error.__cause__ is None, what
        assert outcome.error.__context__ is None, what


def failures(outcome: Outcome) -> list[str]:
    """Return the failures that an invocation logged."""
    lines = [json.loads(line) for line in outcome.written.splitlines() if line.startswith("{")]
    told = [line.get("failure") or line.get("failures") for line in lines]
    return [str(each) for each in told if each]


def test_should_name_class_code_and_line() -> None:
    error = ClientError({"Error": {"Code": "AccessDenied", "Message": KEY}}, "GetObject")
    assert describe(error) == "ClientError GetObject AccessDenied"
    with pytest.raises(KeyError) as caught:
        key_error()
    assert describe(caught.value).startswith("KeyError provocations.py:")


@pytest.mark.parametrize("code", [f"NoSuchKey /{KEY}", "No Such Key", "", [KEY], "é"])
def test_should_take_for_a_code_only_what_can_be_one(code: object) -> None:
    error = ClientError({"Error": {"Code": code}}, "GetObject")  # type: ignore[typeddict-item]
    assert error_code(error) == "Unknown"


COMMANDS: dict[str, tuple[str, ...]] = {
    "status": ("status",),
    "where": ("where", KEY),
    "list": ("quarantine", "list"),
    "show": ("quarantine", "show", "0" * 32),
    "retry": ("quarantine", "retry", "0" * 32),
    "release": ("quarantine", "release", "--by", "Dr. Ada Byron", "--reason", "Looked at every frame.", "0" * 32),
    "dismiss": ("quarantine", "dismiss", "--by", "Dr. Ada Byron", "--reason", "Sent here by mistake.", "0" * 32),
    "redrive": ("redrive",),
    "reconcile": ("reconcile",),
    "replay": ("replay", "--all", "--yes"),
    "dead-letters list": ("dead-letters", "list"),
    "dead-letters replay": ("dead-letters", "replay"),
}


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=tuple(COMMANDS))
def test_should_tell_nothing_of_any_error_at_the_command_line(number: int, operator: Operator, faults: Faults) -> None:
    """The commands share one gate, so the errors are spread over them."""
    command = tuple(COMMANDS.values())[number]
    for provoke in (key_error, *ERRORS[number :: len(COMMANDS)]):
        faults.provoke(provoke)
        status, out, err = operator.run(*command)
        assert not SEARCH.find(out + err), f"{provoke.__name__}: {out}{err}"
        assert status == 1, provoke.__name__
        assert err.startswith(f"{command[0]}: "), err


@pytest.fixture(autouse=True)
def _hooks_are_put_back() -> Iterator[None]:
    before: tuple[Callable[..., object], ...] = (threading.excepthook, sys.unraisablehook)
    yield
    assert (threading.excepthook, sys.unraisablehook) == before
