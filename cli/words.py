"""Words for people in place of codes and of times for machines."""

from __future__ import annotations

from collections.abc import Iterable

from runtime.dicom.findings import FINDINGS


def in_words(reasons: Iterable[str]) -> list[str]:
    """Return each code with what it means. What is no code, as the name of an error, stands for itself."""
    return [f"{reason}: {FINDINGS[reason].message}" if reason in FINDINGS else reason for reason in reasons]


def minute(time: str) -> str:
    """Return a time of the ledger or the audit log, ISO 8601 in UTC, as people read it."""
    return time[:16].replace("T", " ")
