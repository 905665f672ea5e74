"""`imaging-pipeline explain`: what profiles do to an attribute, and why; or to all, as a table to sign off."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Final

from pydicom._dicom_dict import DicomDictionary
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import dictionary_description, dictionary_VR, keyword_for_tag, tag_for_keyword

from cli.deidentification.explanation import Explanation, explain, word
from cli.parser import add_json_argument, proposal
from cli.profiles import DEFAULT_PROFILE, add_profile_argument
from cli.tables import text_table
from runtime.deidentification.profile import Profile, load_profile, profile_names
from runtime.deidentification.rules.resolution import Ruleset
from runtime.deidentification.rules.table import Rule, rule_for, rules

_TAG: Final = re.compile(r"\(?([0-9a-f]{4}),?([0-9a-f]{4})\)?", re.IGNORECASE)
_SOP_CLASSES: Final = {entry[4]: uid for uid, entry in UID_dictionary.items() if entry[1] == "SOP Class"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("tag", type=_tag, nargs="?", metavar="TAG", help="keyword, (gggg,eeee) or ggggeeee")
    which.add_argument("--all", action="store_true", help="every attribute that the profile names, as a table")
    add_profile_argument(parser, default=None)
    add_json_argument(parser)
    parser.add_argument("--creator", metavar="TEXT", help="private creator of a private TAG")
    parser.add_argument(
        "--sop-class",
        type=_sop_class,
        default="",
        metavar="UID",
        help="of the object, as UID or keyword such as CTImageStorage: tells the attribute's type",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what was asked for."""
    if arguments.all:
        profiles = [arguments.profile or load_profile(DEFAULT_PROFILE)]
    else:
        profiles = [arguments.profile] if arguments.profile else [load_profile(name) for name in profile_names()]
    if arguments.json:
        for profile in profiles:
            sys.stdout.writelines(f"{json.dumps(document)}\n" for document in _documents(arguments, Ruleset(profile)))
    elif arguments.all:
        sys.stdout.write(profile_text(profiles[0], arguments.sop_class))
    else:
        sys.stdout.write(attribute_text(arguments.tag, profiles, arguments.sop_class, arguments.creator))
    return 0


def _documents(arguments: argparse.Namespace, ruleset: Ruleset) -> Iterator[dict[str, object]]:
    """Yield what a profile does to each attribute that was asked for, for machines."""
    for tag in _named_tags(ruleset.profile) if arguments.all else [arguments.tag]:
        explanation = explain(ruleset, tag, sop_class_uid=arguments.sop_class, creator=arguments.creator)
        name, vr = _name_and_vr(tag)
        yield {
            "profile": ruleset.profile.name,
            "tag": _digits(tag),
            "attribute": name,
            "vr": vr,
            "action": explanation.decision.action,
            "by_type": explanation.by_type if explanation.decision.action.is_compound else None,
            "type": explanation.type,
            "reason": explanation.decision.reason,
        }


def attribute_text(tag: int, profiles: Iterable[Profile], sop_class_uid: str, creator: str | None) -> str:
    """Return the attribute's row of the table and what each profile makes of it."""
    rows = [("PROFILE", "ACTION", "WHY")]
    for profile in profiles:
        explanation = explain(Ruleset(profile), tag, sop_class_uid=sop_class_uid, creator=creator)
        rows.append((profile.name, _action(explanation), explanation.decision.reason))
    return f"{_heading(tag)}\n\n{_row_text(rule_for(tag))}\n{text_table(rows)}"


def profile_text(profile: Profile, sop_class_uid: str) -> str:
    """Return all that a profile does, for whoever has to answer for it."""
    ruleset = Ruleset(profile)
    rows = [("TAG", "ATTRIBUTE", "VR", "BASIC", "ACTION", "WHY")]
    for tag in _named_tags(profile):
        explanation = explain(ruleset, tag, sop_class_uid=sop_class_uid)
        rule = rule_for(tag)
        basic = rule.basic if rule else "-"
        name, vr = _name_and_vr(tag)
        rows.append((_digits(tag), name, vr, basic, _action(explanation), explanation.decision.reason))
    return f"{_introduction(ruleset)}\n{text_table(rows)}\n{_REST}"


def _named_tags(profile: Profile) -> list[int]:
    """Return the attributes that the table or the profile names, repeating groups excepted."""
    return sorted({rule.tag for rule in rules() if rule.tag} | {override.tag for override in profile.overrides})


def _introduction(ruleset: Ruleset) -> str:
    profile = ruleset.profile
    codes = [f"  {code.value} {code.meaning}\n" for code in profile.method_codes]
    shift = profile.date_shift
    dates = "" if shift is None else f"Dates move {shift.minimum_days} to {shift.maximum_days} days into the past.\n"
    risks = [f"  {risk}: {policy}\n" for risk, policy in sorted(profile.risks.items())]
    return (
        f"Profile {profile.name}: {profile.description}\n"
        f"Content hash {profile.content_hash(ruleset.digest)}\n"
        f"Methods (DICOM PS3.16 CID 7050):\n{''.join(codes)}{dates}"
        f"What a header can't judge:\n{''.join(risks)}"
    )


_REST: Final = (
    "Where the action is compound, the attribute's type in the object's IOD decides: explain TAG says how.\n"
    "Repeating groups that the table names, private attributes that the profile doesn't retain and attributes that\n"
    "DICOM PS3.6 doesn't know are removed. What else DICOM PS3.6 defines is kept.\n"
)


def _heading(tag: int) -> str:
    name, vr = _name_and_vr(tag)
    try:
        description = dictionary_description(tag)
    except KeyError:
        rule = rule_for(tag)
        description = "Private attribute" if tag >> 16 & 1 else rule.name if rule else "not in DICOM PS3.6"
    return "  ".join(part for part in (_digits(tag), name, description, vr) if part)


def _row_text(rule: Rule | None) -> str:
    if rule is None:
        return "DICOM PS3.15 Table E.1-1 does not name this attribute.\n"
    rows = [("TABLE E.1-1", "ACTION", "COLUMN"), (rule.pattern, rule.basic, "Basic Profile")]
    rows += [("", action, f"{option.code.meaning} ({option})") for option, action in sorted(rule.options.items())]
    return text_table(rows)


def _action(explanation: Explanation) -> str:
    """Return the action in a word; of a compound one what it comes to."""
    action, tag = explanation.decision.action, explanation.tag
    if not action.is_compound:
        return f"{action} {word(tag, action)}"
    if explanation.type is not None:
        resolved = explanation.resolved
        return f"{action}: {resolved} {word(tag, resolved)} (Type {explanation.type})"
    by_type = ", ".join(f"{resolved} if Type {type_}" for type_, resolved in explanation.by_type.items())
    return f"{action}: {by_type}"


def _name_and_vr(tag: int) -> tuple[str, str]:
    """Return keyword and VR, from the table where pydicom's dictionary is older than it."""
    rule = rule_for(tag)
    try:
        return keyword_for_tag(tag), dictionary_VR(tag)
    except KeyError:
        return (rule.keyword, rule.vr) if rule else ("", "")


def _digits(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _tag(text: str) -> int:
    match = _TAG.fullmatch(text)
    if match is not None:
        return int(match[1] + match[2], 16)
    known = {rule.keyword.lower(): rule.tag for rule in rules() if rule.tag is not None}
    tag = tag_for_keyword(text) or known.get(text.lower())
    if tag is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a keyword of DICOM PS3.6 nor a tag such as (0010,0010){proposal(text, _keywords())}"
        )
    return tag


def _keywords() -> list[str]:
    return [entry[4] for entry in DicomDictionary.values() if entry[4]]


def _sop_class(text: str) -> str:
    uid = _SOP_CLASSES.get(text, text)
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)+", uid, re.ASCII):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a SOP class's keyword nor a UID{proposal(text, list(_SOP_CLASSES))}"
        )
    return uid
