"""What a profile makes of the standard's table: one action an attribute, and why."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from runtime.deidentification.profile import Profile
from runtime.deidentification.rules.options import Option
from runtime.deidentification.rules.table import Action, Rule, rule_for, rules
from runtime.dicom.dictionary import dictionary_entries

_DATA_FILES: Final = (
    "table_e1_1.tsv",
    "attribute_types.tsv",
    "attribute_types_nested.tsv",
    "safe_private.tsv",
    "../text/clinical_words.txt",
)

_FIRST_DATA_SET_TAG: Final = 0x00080000

_ALIKE: Final = {"UI": 0x00200052, "PN": 0x00081048, "DA": 0x00400244, "DT": 0x00404050, "UR": 0x00080081}
"""Attributes of the table by whose row those of the same VR go that the table overlooks: Frame of Reference UID,
Physician(s) of Record, two dates of performed procedure steps, and Institution Address for URLs, which name a place."""

_DEFINITION: Final = re.compile("SOPClass|TransferSyntax|CodingScheme|^Context|MappingResource|CreatorVersion|^URN")
"""UIDs and URLs by these keywords name what a standard or a vendor defines, no instance and no place."""

DECLARATIONS: Final = frozenset((0x00120062, 0x00120063, 0x00120064, 0x00280303))
"""Attributes by which a result says what was done to it: written anew, whatever the source says."""


class Decision(NamedTuple):
    """What happens to an attribute, and what decided it."""

    action: Action
    reason: str


class Ruleset:
    """A profile applied to every row of the table.

    Parameters
    ----------
    profile
        The Basic Profile's options and overrides.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.decisions = {rule.tag: decide(rule, profile) for rule in rules() if rule.tag is not None}
        for tag, vr, keyword in dictionary_entries():
            if tag not in self.decisions and vr in _ALIKE and not _DEFINITION.search(keyword):
                self.decisions[tag] = _decide_alike(_ALIKE[vr], profile)
            if tag < _FIRST_DATA_SET_TAG:
                self.decisions[tag] = Decision(Action.REMOVE, "commands, file meta and directories are no part of it")
        for tag in DECLARATIONS:
            self.decisions[tag] = Decision(Action.REMOVE, "the de-identification writes it anew")
        for override in profile.overrides:
            self.decisions[override.tag] = Decision(override.action, override.reason)
        self.actions = {tag: decision.action for tag, decision in self.decisions.items()}
        self.keeps_safe_private = Option.RETAIN_SAFE_PRIVATE in profile.options
        self.cleans_text = Option.CLEAN_DESCRIPTORS in profile.options
        self.keeps_full_dates = Option.RETAIN_LONGITUDINAL_FULL_DATES in profile.options
        self.keeps_uids = Option.RETAIN_UIDS in profile.options

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
                return Decision(wanted, f"{option.code.meaning} ({option.code.value})")
    return Decision(rule.basic, "Basic Application Level Confidentiality Profile")


def _decide_alike(tag: int, profile: Profile) -> Decision:
    """Return what a profile does to an attribute that the table overlooks, by the row of one that it names.

    Among these are SOP Instance UID of Concatenation Source (0020,0242) and others by which objects find each other.
    """
    rule = rule_for(tag)
    assert rule is not None, "every tag of _ALIKE is in the table"  # noqa: S101 - for the type checker
    action, reason = decide(rule, profile)
    return Decision(action, f"not named by the table, treated as {rule.keyword}: {reason}")


@cache
def _digest() -> str:
    digest = hashlib.sha256()
    for name in _DATA_FILES:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()
