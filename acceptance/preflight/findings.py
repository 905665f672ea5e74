"""What a check finds, and how what could not be looked at is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from acceptance.preflight.aws import UnseenError


class Verdict(StrEnum):
    """What a finding means for the deployment."""

    OK = "ok"
    WARNING = "warn"
    FAILURE = "fail"
    UNSEEN = "unseen"


@dataclass(frozen=True)
class Finding:
    """What one check saw.

    Attributes
    ----------
    check
        What was looked at, in a few words.
    verdict
        Whether it will do.
    seen
        What there is, with its figure.
    needed
        What is needed instead, and how to get it; empty where nothing is.
    """

    check: str
    verdict: Verdict
    seen: str
    needed: str = ""


Found = TypeVar("Found")


def look(check: str, ask: Callable[[], Iterable[Found]]) -> Iterator[Found | Finding]:
    """Yield what a check finds, and what kept it from looking as a finding of its own."""
    try:
        yield from ask()
    except UnseenError as error:
        yield Finding(check, Verdict.UNSEEN, f"not looked at: {error}")


def will_fail(findings: Iterable[Finding]) -> bool:
    """Tell whether something keeps the stage from being deployed or from its work."""
    return any(finding.verdict is Verdict.FAILURE for finding in findings)
