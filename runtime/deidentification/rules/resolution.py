"""A profile applied to the standard's table: one decision an attribute."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Final

from runtime.deidentification.profile import Profile
from runtime.deidentification.rules.decision import (
    DECLARATION,
    FILE_GROUPS,
    GROUP_LENGTH,
    PRIVATE_NOT_LISTED,
    PRIVATE_NOT_RETAINED,
    REPEATING_GROUP,
    UNKNOWN,
    UNNAMED,
    Decision,
)
from runtime.deidentification.rules.options import Option
from runtime.deidentification.rules.private import decide_private, decide_private_attributes
from runtime.deidentification.rules.table import Action, Rule, rule_for, rules
from runtime.dicom import tags
from runtime.dicom.dictionary import dictionary_entries
from runtime.dicom.elements import Element
from runtime.dicom.header import Header

_DATA_FILES: Final = (
    "table_e1_1.tsv",
    "attribute_types.tsv",
    "attribute_types_nested.tsv",
    "safe_private.tsv",
    "../text/clinical_words.txt",
)

_FIRST_DATA_SET_TAG: Final = 0x00080000

_ALIKE: Final = {
    "UI": tags.FRAME_OF_REFERENCE_UID,
    "PN": tags.PHYSICIANS_OF_RECORD,
    "DA": tags.PERFORMED_PROCEDURE_STEP_START_DATE,
    "DT": tags.PERFORMED_PROCEDURE_STEP_START_DATE_TIME,
    "UR": tags.INSTITUTION_ADDRESS,  # a URL names a place
}
"""Attributes by whose rows those of the same VR are decided that the table overlooks."""

_DEFINITION: Final = re.compile("SOPClass|TransferSyntax|CodingScheme|^Context|MappingResource|CreatorVersion|^URN")
"""Keywords of UIDs and URLs that name what a standard or a vendor defines, no instance and no place."""

DECLARATIONS: Final = (
    tags.PATIENT_IDENTITY_REMOVED,
    tags.DEIDENTIFICATION_METHOD,
    tags.DEIDENTIFICATION_METHOD_CODE_SEQUENCE,
    tags.LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED,
)
"""Attributes by which a result says what was done to it, ascending."""


class Ruleset:
    """A profile applied to every row of the table.

    Parameters
    ----------
    profile
        Options and overrides of the Basic Profile.

    Attributes
    ----------
    decisions
        Decisions for the attributes of DICOM PS3.6, those of repeating groups aside, by tag.
    unlisted_private
        Decision for private attributes that Table E.3.10-1 doesn't list, or for all of them.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.decisions = {rule.tag: decide(rule, profile) for rule in rules() if rule.tag is not None}
        for tag, vr, keyword in dictionary_entries():
            if tag < _FIRST_DATA_SET_TAG:
                self.decisions[tag] = FILE_GROUPS
            elif tag not in self.decisions:
                is_alike = vr in _ALIKE and not _DEFINITION.search(keyword)
                self.decisions[tag] = _decide_alike(_ALIKE[vr], profile) if is_alike else UNNAMED
        self.decisions |= dict.fromkeys(DECLARATIONS, DECLARATION)
        for override in profile.overrides:
            self.decisions[override.tag] = Decision(override.action, override.reason)
        self.keeps_safe_private = Option.RETAIN_SAFE_PRIVATE in profile.options
        self.unlisted_private = PRIVATE_NOT_LISTED if self.keeps_safe_private else PRIVATE_NOT_RETAINED
        self.cleans_text = Option.CLEAN_DESCRIPTORS in profile.options
        self.keeps_full_dates = Option.RETAIN_LONGITUDINAL_FULL_DATES in profile.options
        self.keeps_uids = Option.RETAIN_UIDS in profile.options

    def decide(self, tag: int) -> Decision:
        """Return what the profile does to an attribute that is not private; its action may be a compound one."""
        decision = self.decisions.get(tag)
        if decision is not None:
            return decision
        if tag & 0xFFFF == 0:
            return GROUP_LENGTH
        return UNKNOWN if rule_for(tag) is None else REPEATING_GROUP

    def decide_private(self, tag: int, creator: str | None) -> Decision:
        """Return what the profile does to a private attribute of a creator."""
        return decide_private(tag, creator) if self.keeps_safe_private else self.unlisted_private

    def decide_private_attributes(
        self, header: Header, elements: list[Element], codecs: tuple[str, ...]
    ) -> dict[int, Decision]:
        """Return what the profile does to a data set's private elements, by their offsets.

        Those left out meet `unlisted_private`.
        """
        return decide_private_attributes(header, elements, codecs) if self.keeps_safe_private else {}

    @property
    def digest(self) -> str:
        """SHA-256 of the rule tables, in hexadecimal."""
        return _digest()


def decide(rule: Rule, profile: Profile) -> Decision:
    """Return what a profile does to a row's attribute.

    Where one option keeps the attribute and another cleans it, it is cleaned.
    """
    chosen = {option: action for option, action in rule.options.items() if option in profile.options}
    for wanted in (Action.CLEAN, Action.KEEP):
        for option in sorted(chosen):
            if chosen[option] is wanted:
                return Decision(wanted, str(option.code))
    return Decision(rule.basic, "Basic Application Level Confidentiality Profile")


def _decide_alike(tag: int, profile: Profile) -> Decision:
    """Return what a profile does to an attribute that the table overlooks, by the row of one that it names.

    Among these are SOP Instance UID of Concatenation Source (0020,0242) and others by which objects find each other.
    """
    rule = rule_for(tag)
    assert rule is not None, "every tag of _ALIKE is in the table"  # noqa: S101 - for the type checker
    decision = decide(rule, profile)
    return Decision(decision.action, f"not named by the table, treated as {rule.keyword}: {decision.reason}")


@cache
def _digest() -> str:
    digest = hashlib.sha256()
    for name in _DATA_FILES:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()
