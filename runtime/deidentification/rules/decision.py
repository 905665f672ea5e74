"""Decisions: what happens to an attribute, and why. Made once, then read by reports, explanations and dry runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from runtime.deidentification.rules.options import Option
from runtime.deidentification.rules.table import Action
from runtime.deidentification.rules.types import AttributeType, resolve


@dataclass(frozen=True, slots=True)
class Decision:
    """Action that an attribute meets, and the reason for it.

    Attributes
    ----------
    action
        A compound one until the attribute's type is known.
    reason
        One phrase for people; names attributes, never values.
    """

    action: Action
    reason: str

    def resolved(self, type_: AttributeType | None) -> Decision:
        """Return the decision with the simple action for an attribute of this type."""
        return _resolved(self, type_) if self.action.is_compound else self


@lru_cache(maxsize=4096)
def _resolved(decision: Decision, type_: AttributeType | None) -> Decision:
    return Decision(resolve(decision.action, type_), decision.reason)


UNNAMED: Final = Decision(Action.KEEP, "Table E.1-1 does not name it")
GROUP_LENGTH: Final = Decision(Action.REMOVE, "group length, retired, and wrong after any change")
REPEATING_GROUP: Final = Decision(Action.REMOVE, "repeating group that Table E.1-1 names")
UNKNOWN: Final = Decision(Action.REMOVE, "not in the dictionary of DICOM PS3.6")
FILE_GROUPS: Final = Decision(Action.REMOVE, "commands, file meta and directories are no part of it")
DECLARATION: Final = Decision(Action.REMOVE, "the de-identification writes it anew")
MISREPRESENTED: Final = Decision(
    Action.REMOVE_OR_EMPTY_OR_DUMMY, "its VR or its items contradict what DICOM PS3.6 says it is"
)
RESIDUE: Final = Decision(Action.CLEAN, "the search before release found an identifier of the header in it")
CAPPED_AGE: Final = Decision(Action.CLEAN, "an age over 89 years identifies (45 CFR 164.514)")
PROSE: Final = Decision(Action.CLEAN, f"text that may say anything: {Option.CLEAN_DESCRIPTORS.code}")
PRIVATE_NOT_RETAINED: Final = Decision(Action.REMOVE, "private attribute, and the profile does not retain safe ones")
PRIVATE_NOT_LISTED: Final = Decision(
    Action.REMOVE, "private attribute that Table E.3.10-1 does not list for its creator"
)
PRIVATE_MISREPRESENTED: Final = Decision(
    Action.REMOVE, "private attribute whose VR contradicts the one that Table E.3.10-1 lists"
)
CREATOR: Final = Decision(Action.KEEP, "private creator of a block of which an attribute is kept")
IDLE_CREATOR: Final = Decision(Action.REMOVE, "private creator of a block of which nothing is kept")


@lru_cache(maxsize=4096)
def safe_private(action: Action) -> Decision:
    """Return the decision for a private attribute that Table E.3.10-1 lists, by what its VR asks for."""
    return Decision(action, _SAFE_PRIVATE[action])


_SAFE_PRIVATE: Final = {
    Action.KEEP: "Table E.3.10-1 lists it as safe",
    Action.CLEAN: "Table E.3.10-1 lists it as safe; text and dates in it are cleaned",
    Action.MAP_UID: "Table E.3.10-1 lists it as safe; UIDs in it are mapped",
    Action.EMPTY: "Table E.3.10-1 lists it as safe, but it holds a person's name",
}


@lru_cache(maxsize=4096)
def inside(sequence: str, action: Action, reason: str) -> Decision:
    """Return the decision for text inside a sequence, by the sequence's keyword and the reason of its own decision."""
    return Decision(action, f"text inside {sequence}: {reason}")
