"""What a profile does to one attribute, and why: the engine's decisions in words."""

from __future__ import annotations

from typing import Final, NamedTuple

from runtime.deidentification.attributes import PSEUDONYMOUS
from runtime.deidentification.rules.private import is_safe_private
from runtime.deidentification.rules.resolution import Decision, Ruleset
from runtime.deidentification.rules.table import Action, rule_for
from runtime.deidentification.rules.types import AttributeType, attribute_type, resolve
from runtime.dicom.dictionary import dictionary_vr, is_in_dictionary

_PRIVATE: Final = 0x10000
_KINDS_OF_TYPE: Final[tuple[AttributeType, ...]] = ("1", "2", "3")

_VALUELESS: Final = frozenset((Action.EMPTY, Action.DUMMY))
_MEANINGS: Final = {
    Action.KEEP: "keep",
    Action.REMOVE: "remove",
    Action.EMPTY: "empty",
    Action.DUMMY: "replace",
    Action.MAP_UID: "map UID",
    Action.CLEAN: "clean",
}


class Explanation(NamedTuple):
    """What happens to an attribute, and what decided it."""

    action: Action
    """as the table or the profile has it; may be a compound one"""
    reason: str
    type: AttributeType | None
    """in the object's IOD; None where nothing says it"""
    tag: int

    @property
    def resolved(self) -> Action:
        """The simple action that the attribute meets."""
        return resolve(self.action, self.type)

    @property
    def meaning(self) -> str:
        """What that action does to this attribute, in a word."""
        if self.resolved in _VALUELESS and self.tag in PSEUDONYMOUS:
            return "pseudonym"
        if self.resolved is Action.DUMMY and dictionary_vr(self.tag) == "UI":
            return _MEANINGS[Action.MAP_UID]
        return _MEANINGS[self.resolved]

    @property
    def by_type(self) -> dict[AttributeType, Action]:
        """What a compound action comes to for Type 1, 2 and 3."""
        return {type_: resolve(self.action, type_) for type_ in _KINDS_OF_TYPE}


def explain(
    ruleset: Ruleset, path: tuple[int, ...], *, sop_class_uid: str = "", creator: str | None = None
) -> Explanation:
    """Say what a profile does to an attribute by a rule of its own.

    Text that no rule names may change all the same: inside a sequence whose rule cleans or replaces what it says, and
    where the search before release finds an identifier in it.

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
    decision = _decision(ruleset, path[-1], creator)
    return Explanation(decision.action, decision.reason, attribute_type(sop_class_uid, path), path[-1])


def _decision(ruleset: Ruleset, tag: int, creator: str | None) -> Decision:
    decision = ruleset.decisions.get(tag)
    if decision is not None:
        return decision
    if tag & _PRIVATE and tag & 0xFFFF:
        return _private(ruleset, tag, creator)
    if tag & 0xFFFF == 0:
        return Decision(Action.REMOVE, "group length, retired, and wrong after any change")
    if is_in_dictionary(tag):
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
