"""What a profile does to one attribute, and why: the engine's decisions in words."""

from __future__ import annotations

from typing import Final, NamedTuple

from pydicom._dicom_dict import DicomDictionary

from runtime.deidentification.attributes import _CODED_ENTRY, _CONTENT_ACTIONS
from runtime.deidentification.private import is_safe_private
from runtime.deidentification.residue import TEXT_VRS
from runtime.deidentification.rules import Decision, Ruleset
from runtime.deidentification.table import Action, rule_for
from runtime.deidentification.types import AttributeType, attribute_type, resolve
from runtime.dicom.elements import attribute_text, dictionary_vr

_PRIVATE: Final = 0x10000
_KINDS_OF_TYPE: Final[tuple[AttributeType, ...]] = ("1", "2", "3")

MEANINGS: Final = {
    Action.KEEP: "keep",
    Action.REMOVE: "remove",
    Action.EMPTY: "empty",
    Action.DUMMY: "replace",
    Action.MAP_UID: "map UID",
    Action.CLEAN: "clean",
}
"""The simple actions of DICOM PS3.15 Table E.1-1a in a word."""


class Explanation(NamedTuple):
    """What happens to an attribute, and what decided it."""

    action: Action
    """as the table or the profile has it; may be a compound one"""
    reason: str
    type: AttributeType | None
    """in the object's IOD; None where nothing says it"""

    @property
    def resolved(self) -> Action:
        """The simple action that the attribute meets."""
        return resolve(self.action, self.type)

    @property
    def by_type(self) -> dict[AttributeType, Action]:
        """What a compound action comes to for Type 1, 2 and 3."""
        return {type_: resolve(self.action, type_) for type_ in _KINDS_OF_TYPE}


def explain(
    ruleset: Ruleset, path: tuple[int, ...], *, sop_class_uid: str = "", creator: str | None = None
) -> Explanation:
    """Say what a profile does to an attribute.

    Parameters
    ----------
    ruleset
        The profile, applied to the table.
    path
        Tags of the sequences around the attribute, outermost first, and its own.
    sop_class_uid
        Of the object; without it no type is known at top level.
    creator
        Of a private attribute: the value of the element that reserves its block.
    """
    decision = _within_sequence(ruleset, path) or _decision(ruleset, path[-1], creator)
    return Explanation(decision.action, decision.reason, attribute_type(sop_class_uid, path))


def _within_sequence(ruleset: Ruleset, path: tuple[int, ...]) -> Decision | None:
    """Return what happens to an attribute that no rule names, inside a sequence that one cleans or replaces."""
    *sequences, tag = path
    if tag in ruleset.decisions or tag & _PRIVATE or dictionary_vr(tag) not in TEXT_VRS:
        return None
    for sequence in reversed(sequences):
        action = ruleset.actions.get(sequence)
        if action in _CONTENT_ACTIONS and not (action is Action.DUMMY and tag in _CODED_ENTRY):
            return Decision(action, f"text inside {attribute_text(sequence)}: {ruleset.decisions[sequence].reason}")
        if action in _CONTENT_ACTIONS:
            break
    return None


def _decision(ruleset: Ruleset, tag: int, creator: str | None) -> Decision:
    decision = ruleset.decisions.get(tag)
    if decision is not None:
        return decision
    if tag & _PRIVATE:
        return _private(ruleset, tag, creator)
    if tag in DicomDictionary:
        return Decision(Action.KEEP, "Table E.1-1 does not name it")
    if rule_for(tag) is not None:
        return Decision(Action.REMOVE, "repeating group that Table E.1-1 names")
    return Decision(Action.REMOVE, "not in the dictionary of DICOM PS3.6")


def _private(ruleset: Ruleset, tag: int, creator: str | None) -> Decision:
    number = tag & 0xFFFF
    if not ruleset.keeps_safe_private:
        return Decision(Action.REMOVE, "private attribute, and the profile does not retain safe ones")
    if 0x10 <= number <= 0xFF:
        return Decision(Action.KEEP, "private creator, kept if an attribute of its block is kept")
    if creator is None:
        return Decision(Action.REMOVE, "private attribute without a creator that Table E.3.10-1 could list")
    if is_safe_private(creator, tag >> 16, number & 0xFF):
        return Decision(Action.KEEP, "Table E.3.10-1 lists it as safe; text and dates in it are cleaned, UIDs mapped")
    return Decision(Action.REMOVE, "private attribute that Table E.3.10-1 does not list for this creator")
