"""Decisions of a profile in words."""

from __future__ import annotations

from typing import Final, NamedTuple

from runtime.deidentification.attributes import PSEUDONYMOUS
from runtime.deidentification.rules.decision import Decision
from runtime.deidentification.rules.resolution import Ruleset
from runtime.deidentification.rules.table import Action
from runtime.deidentification.rules.types import AttributeType, attribute_type
from runtime.dicom.dictionary import dictionary_vr
from runtime.dicom.tags import is_private

_KINDS_OF_TYPE: Final[tuple[AttributeType, ...]] = ("1", "2", "3")
_VALUELESS: Final = frozenset((Action.EMPTY, Action.DUMMY))
_WORDS: Final = {
    Action.KEEP: "keep",
    Action.REMOVE: "remove",
    Action.EMPTY: "empty",
    Action.DUMMY: "replace",
    Action.MAP_UID: "map UID",
    Action.CLEAN: "clean",
}


def word(tag: int, action: Action) -> str:
    """Return what a simple action does to an attribute, in a word."""
    if action in _VALUELESS and tag in PSEUDONYMOUS:
        return "pseudonym"
    if action is Action.DUMMY and dictionary_vr(tag) == "UI":
        return _WORDS[Action.MAP_UID]
    return _WORDS[action]


class Explanation(NamedTuple):
    """Decision for an attribute at top level, before any object is seen."""

    tag: int
    decision: Decision
    """with the action as the table or the profile has it; may be a compound one"""
    type: AttributeType | None
    """in the object's IOD; None where nothing says it"""

    @property
    def resolved(self) -> Action:
        """Simple action that the attribute meets."""
        return self.decision.resolved(self.type).action

    @property
    def by_type(self) -> dict[AttributeType, Action]:
        """Simple actions of a compound one for Type 1, 2 and 3."""
        return {type_: self.decision.resolved(type_).action for type_ in _KINDS_OF_TYPE}


def explain(ruleset: Ruleset, tag: int, *, sop_class_uid: str = "", creator: str | None = None) -> Explanation:
    """Return what a profile decides for an attribute at top level.

    A value may meet another action where its VR contradicts DICOM PS3.6, an age exceeds 89 years, or the search before
    release finds an identifier in it: a dry run of the object tells.

    Parameters
    ----------
    ruleset
        Rules of the profile.
    tag
        Of the attribute.
    sop_class_uid
        Of the object; without it no type is known.
    creator
        Of a private attribute: the value of the element that reserves its block.
    """
    decision = ruleset.decide_private(tag, creator) if is_private(tag) else ruleset.decide(tag)
    return Explanation(tag, decision, attribute_type(sop_class_uid, (tag,)))
