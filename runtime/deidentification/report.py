"""The report on one object, for the workflow and for people: names and counts, never values."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from runtime.contract.models import Frozen
from runtime.deidentification.rules.table import Action


class DeidentificationReport(Frozen):
    """Report on one object: its profile, counts of actions, and risks."""

    profile: str
    profile_hash: str = Field(description="SHA-256 of the profile and the rule tables, in hexadecimal")
    key_id: str = Field(description="names the pseudonym key")
    options: tuple[str, ...]
    action_counts: Mapping[Action, int] = Field(description="elements that met each action, at every depth")
    risks: tuple[str, ...] = Field(description="risks that the object bears and its policy releases")
    trailing_bytes_dropped: int = Field(ge=0, description="bytes after the pixel data, never copied")
