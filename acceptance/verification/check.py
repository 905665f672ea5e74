"""A check: what was expected of a stage, what was seen, and whether the two agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from acceptance.verification.waiting import NotSeenError
from cli.console import sentence
from cli.operations.links import DeliveryError
from cli.stage import OperationError
from imaging_pipeline.stages.config import StageConfig
from runtime.contract.models import Frozen
from runtime.observability.redaction import describe, error_code

if TYPE_CHECKING:
    from acceptance.verification.run import Run

DENIED: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation", "Forbidden", "403"}
)
"""Codes by which AWS's services say that the caller has no right."""


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "FAILED"
    NO_RIGHT = "no right"
    """the caller may not look at it"""
    SKIPPED = "skipped"


class Judgement(NamedTuple):
    """What a check expected and saw."""

    expected: str
    seen: str
    ok: bool


class Line(Frozen):
    """A check's line in the table."""

    check: str
    outcome: Outcome
    expected: str = ""
    seen: str = ""


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    Parameters
    ----------
    name
        As the table calls it.
    look
        Looks, and waits where it has to.
    emulator
        Why the emulator can't be judged by it; empty where it can.
    skip
        Returns why a stage with these settings has nothing to look at; empty where it has.
    """

    name: str
    look: Callable[[Run], Judgement]
    emulator: str = ""
    skip: Callable[[StageConfig], str] = lambda _: ""

    def __str__(self) -> str:
        return self.name

    def line(self, run: Run) -> Line:
        """Look, and return the line; trouble with one check keeps no other back."""
        reason = self.skip(run.config)
        if not reason and self.emulator and run.config.runs_on_this_machine:
            reason = f"the emulator {self.emulator}"
        if reason:
            return Line(check=self.name, outcome=Outcome.SKIPPED, seen=reason)
        try:
            expected, seen, ok = self.look(run)
        except Exception as error:  # noqa: BLE001 - of any trouble the other checks must not suffer
            outcome = Outcome.NO_RIGHT if is_denied(error) else Outcome.FAILED
            return Line(check=self.name, outcome=outcome, seen=trouble(error))
        return Line(check=self.name, outcome=Outcome.OK if ok else Outcome.FAILED, expected=expected, seen=seen)


def check(
    name: str, *, emulator: str = "", skip: Callable[[StageConfig], str] = lambda _: ""
) -> Callable[[Callable[[Run], Judgement]], Check]:
    """Make a function a check."""
    return lambda look: Check(name, look, emulator, skip)


def unset(setting: str) -> Callable[[StageConfig], str]:
    """Skip a check where a stage leaves a setting out."""
    return lambda config: "" if getattr(config, setting) else f"{setting} is not set"


def without_keys(config: StageConfig) -> str:
    """Skip a check of the stage's own keys where it has none."""
    return "" if config.encryption == "kms" else "encryption is aes256"


def same(expected: object, seen: object) -> Judgement:
    """Judge by equality."""
    return Judgement(str(expected), str(seen), expected == seen)


def alike(expected: str, found: dict[str, str]) -> Judgement:
    """Judge several things, by name, of which the same is expected; those that differ are named."""
    others = [f"{name}: {seen}" for name, seen in found.items() if seen != expected]
    seen = "; ".join(others) or (f"all {len(found)}" if found else "nothing")
    return Judgement(expected, seen, bool(found) and not others)


def is_denied(error: Exception) -> bool:
    """Tell whether AWS refused a request for want of a right."""
    return isinstance(error, ClientError) and error_code(error) in DENIED


def trouble(error: Exception) -> str:
    """Return what there is to say of an error, without what it quotes."""
    if isinstance(error, ClientError | BotoCoreError | OperationError):
        return sentence(error)
    if isinstance(error, NotSeenError | DeliveryError):
        return str(error)
    return f"failed unexpectedly: {describe(error)}"
