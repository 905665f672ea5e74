"""Attributes of one header: the decision for each, and the actions of DICOM PS3.15 Table E.1-1a."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Final

from runtime.deidentification.dummies import dummy_value
from runtime.deidentification.identifiers import collect_identifiers
from runtime.deidentification.pseudonyms import DateShift, Domain, PatientPseudonyms, Pseudonyms, cap_age
from runtime.deidentification.residue import ResidueSearch, is_well_formed
from runtime.deidentification.rewriting import Scope, encode_element
from runtime.deidentification.rules.decision import (
    CAPPED_AGE,
    MISREPRESENTED,
    PROSE,
    RESIDUE,
    UNNAMED,
    Decision,
    inside,
)
from runtime.deidentification.rules.resolution import Ruleset
from runtime.deidentification.rules.table import Action
from runtime.deidentification.rules.types import AttributeType, attribute_type
from runtime.deidentification.text import TextCleaner
from runtime.dicom import tags
from runtime.dicom.character_sets import DEFAULT_CODECS, decode_text, encode_text, read_ascii, read_text
from runtime.dicom.dictionary import dictionary_vr, effective_vr, is_compatible
from runtime.dicom.elements import Element, Encoding, Item, attribute_text
from runtime.dicom.header import Header
from runtime.dicom.nesting import data_set_codecs
from runtime.dicom.tags import is_private
from runtime.dicom.vr import DATE_VRS, PARAGRAPH_VRS, PROSE_VRS, TEXT_VRS

_KEEP: Final = Action.KEEP  # Python before 3.12 looks a member of an enumeration up in Python, for every element
_REMOVE: Final = Action.REMOVE
_CLEAN: Final = Action.CLEAN
_LONGEST_PATH: Final = 3
"""Sequences around one that its path holds: no type needs more, and of a million deep items each holds its path."""
_CONTENT_ACTIONS: Final[Mapping[Action, Action]] = {
    Action.CLEAN: Action.CLEAN,
    Action.DUMMY: Action.DUMMY,
    Action.MAP_UID: Action.DUMMY,
}
"""Actions for the text in a sequence, by the action of the sequence; of references only the UIDs are wanted."""
_CODE: Final = frozenset(
    {tags.CODE_VALUE, tags.CODING_SCHEME_DESIGNATOR, tags.CODING_SCHEME_VERSION}
    | {tags.LONG_CODE_VALUE, tags.URN_CODE_VALUE}
)
"""Attributes that say which code, not what it means."""


class AttributeDeidentifier:
    """Decides the attributes of one header; `decide` and `enter` drive a `Rewriter`.

    Parameters
    ----------
    header
        The source.
    ruleset
        Decisions of the profile.
    pseudonyms
        Under the stage's key.
    also_clean
        Offsets of elements whose text is cleaned although no rule names them.
    """

    def __init__(
        self,
        header: Header,
        ruleset: Ruleset,
        pseudonyms: Pseudonyms,
        also_clean: frozenset[int] = frozenset(),
    ) -> None:
        self._header = header
        self._ruleset = ruleset
        self._decisions = ruleset.decisions
        self._unlisted_private = ruleset.unlisted_private
        self._also_clean = also_clean
        self._pseudonyms = pseudonyms
        self._top_codecs = data_set_codecs(header, header.data_set.elements, DEFAULT_CODECS)
        self.identifiers = collect_identifiers(header, ruleset)
        self.sop_class_uid = header.text(tags.SOP_CLASS_UID) or ""
        self.decisions: list[tuple[Element, Decision]] = []
        """elements, at every depth, with what was decided for each; those aside that stay since no rule names them"""
        self.cleaned: list[tuple[Element, bytes]] = []
        """elements whose text was cleaned, with the new value"""
        self.copied: list[Element] = []
        """elements that stay as they are; of sequences what is in them"""
        self._apply: Final[dict[Action, Callable[[Element, Scope], bytes | None]]] = {
            Action.EMPTY: self._empty,
            Action.DUMMY: self._dummy,
            Action.MAP_UID: self._map_uids,
            Action.CLEAN: self._clean,
        }

    @cached_property
    def patient(self) -> PatientPseudonyms:
        """The patient's pseudonyms, within the scope of the issuer of PatientID."""
        return self._pseudonyms.patient(
            self._top_level_text(tags.PATIENT_ID),
            self._top_level_text(tags.ISSUER_OF_PATIENT_ID),
            self._header.text(tags.STUDY_INSTANCE_UID) or "",
        )

    @cached_property
    def date_shift(self) -> DateShift | None:
        """Shift of the patient's dates; None where the profile doesn't move dates."""
        days = self._ruleset.profile.date_shift
        return None if days is None else self.patient.date_shift(days.minimum_days, days.maximum_days)

    @cached_property
    def cleaner(self) -> TextCleaner:
        """The cleaner for this header's free text."""
        return TextCleaner(self.identifiers.text, self._move_date)

    def _move_date(self, date: datetime.date) -> datetime.date | None:
        if self._ruleset.keeps_full_dates:
            return date
        return None if self.date_shift is None else self.date_shift.shift_date(date)

    def residue_search(self) -> ResidueSearch:
        """Return the search for what must not be found in the result."""
        return ResidueSearch(self._header, self.identifiers, self.cleaner)

    def top_scope(self) -> Scope:
        """Return the scope of the top-level data set."""
        return self._scope((), self._header.data_set.elements, self._header.encoding, self._top_codecs)

    def enter(self, element: Element, item: Item, scope: Scope) -> Scope:
        """Return the scope of an item."""
        codecs = data_set_codecs(self._header, item.elements, scope.encodings)
        tag = element.tag
        decision = scope.private.get(element.start) or self._ruleset.decide(tag)
        if decision.action.is_compound:
            decision = decision.resolved(self._type(tag, scope))
        action = Action.CLEAN if is_private(tag) else _CONTENT_ACTIONS.get(decision.action)
        content = scope.content if action is None else inside(attribute_text(tag), action, decision.reason)
        path = (*scope.path[-_LONGEST_PATH:], tag)
        keeps_codes = action is not Action.DUMMY
        return self._scope(path, item.elements, item.encoding, codecs, content, keeps_codes=keeps_codes)

    def _scope(
        self,
        path: tuple[int, ...],
        elements: list[Element],
        encoding: Encoding,
        codecs: tuple[str, ...],
        content: Decision | None = None,
        *,
        keeps_codes: bool = True,
    ) -> Scope:
        private = self._ruleset.decide_private_attributes(self._header, elements, codecs)
        return Scope(path, encoding, codecs, private, content, keeps_codes)

    def decide(self, element: Element, scope: Scope) -> bytes | None:
        """Return an element's new encoding, empty to remove it, None to keep it and go into its items."""
        decision = self._decide(element, scope)
        if decision is not UNNAMED:
            self.decisions.append((element, decision))
        action = decision.action
        if action is _REMOVE:
            return b""
        new = None if action is _KEEP else self._apply[action](element, scope)
        if new is None and not element.items:
            self.copied.append(element)
        return new

    def _decide(self, element: Element, scope: Scope) -> Decision:
        """Decide what happens to an element, and why."""
        tag = element.tag
        decision = self._decisions.get(tag)
        if decision is None:
            if is_private(tag):
                return scope.private.get(element.start, self._unlisted_private)
            decision = self._ruleset.decide(tag)
        action = decision.action
        if action is not _KEEP and action is not _CLEAN:
            return decision.resolved(self._type(tag, scope)) if action.is_compound else decision
        if _contradicts_dictionary(element):
            return MISREPRESENTED.resolved("3" if decision is UNNAMED else self._type(tag, scope))
        if decision is UNNAMED:
            return self._decide_unnamed(element, scope)
        return self._decide_kept(element, decision) if action is _KEEP else decision

    def _decide_kept(self, element: Element, decision: Decision) -> Decision:
        """Decide on a value whose attribute the profile keeps."""
        vr = _vr(element)
        if element.start in self._also_clean and vr in TEXT_VRS:
            return RESIDUE
        if vr == "AS" and element.items is None and self._map_values(element, cap_age) != self._header.value(element):
            return CAPPED_AGE
        return decision

    def _decide_unnamed(self, element: Element, scope: Scope) -> Decision:
        """Decide on an attribute without a rule: of prose, inside a sequence with one, or in which residue was found.

        What a structured report says stands in attributes that the table doesn't name, such as Text Value; it names
        the sequence (DICOM PS3.15 E.3.4).
        """
        vr = _vr(element)
        if element.items is not None or vr not in TEXT_VRS:
            return UNNAMED
        tag, content = element.tag, scope.content
        if element.start in self._also_clean:
            return RESIDUE
        if tag not in _CODE:
            if content is not None and content.action is Action.CLEAN and vr != "CS":
                return content
            if self._ruleset.cleans_text and vr in PROSE_VRS:
                return PROSE
        is_kept_code = scope.keeps_codes and (tag in _CODE or tag == tags.CODE_MEANING)
        if content is not None and content.action is Action.DUMMY and vr != "CS" and not is_kept_code:
            return content
        return UNNAMED

    def _type(self, tag: int, scope: Scope) -> AttributeType | None:
        return attribute_type(self.sop_class_uid, (*scope.path, tag))

    def _empty(self, element: Element, scope: Scope) -> bytes | None:
        if element.tag in PSEUDONYMOUS and element.items is None:
            return self._dummy(element, scope)
        return self._replace(element, scope, b"")

    def _dummy(self, element: Element, scope: Scope) -> bytes | None:
        if _is_sequence(element):
            return None
        pseudonym = PSEUDONYMOUS.get(element.tag)
        if pseudonym is not None:
            return self._replace(element, scope, pseudonym(self, element, scope).encode("ascii"))
        vr = _vr(element)
        if vr == "UI":
            return self._map_uids(element, scope)
        return self._replace(element, scope, dummy_value(vr))

    def _map_uids(self, element: Element, scope: Scope) -> bytes | None:
        if _is_sequence(element):
            return None
        return self._replace(element, scope, self._map_values(element, self._pseudonyms.uid))

    def _clean(self, element: Element, scope: Scope) -> bytes | None:
        """Clean a value by its VR; what can't be cleaned gets a dummy."""
        vr = _vr(element)
        if _is_sequence(element) or (vr == "TM" and is_well_formed(vr, self._header.value(element))):
            return None
        if element.items is None and vr == "AS":
            return self._replace(element, scope, self._map_values(element, cap_age))
        if element.items is None and vr in DATE_VRS and self.date_shift is not None:
            shift = self.date_shift.shift_da if vr == "DA" else self.date_shift.shift_dt
            return self._replace(element, scope, self._map_values(element, shift))
        if element.items is None and vr in TEXT_VRS:
            return self._clean_text(element, scope, vr)
        return self._dummy(element, scope)

    def _clean_text(self, element: Element, scope: Scope, vr: str) -> bytes | None:
        value = self._header.value(element)
        if not value:
            return None
        text = decode_text(value, scope.encodings).rstrip("\0 ").replace("\0", "")
        separator = "\n" if vr in PARAGRAPH_VRS else "\\"
        parts = [text] if vr in PARAGRAPH_VRS else text.split("\\")
        cleaned = separator.join(self.cleaner.clean(part) for part in parts)
        if cleaned == text:
            self.cleaned.append((element, value))
            return None
        encoded = encode_text(cleaned, scope.encodings)
        type_ = self._type(element.tag, scope)
        if not encoded.strip() and (type_ is None or type_ in ("1", "1C")):
            encoded = dummy_value(vr)
        self.cleaned.append((element, encoded))
        return self._replace(element, scope, encoded)

    def _map_values(self, element: Element, change: Callable[[str], str | None]) -> bytes:
        """Change each value of a multi-valued element; one that can't be changed is emptied."""
        values = read_ascii(self._header.value(element)).split("\\")
        return "\\".join(change(value) or "" for value in values).encode("ascii", "replace")

    def _replace(self, element: Element, scope: Scope, value: bytes) -> bytes | None:
        if self._header.value(element) == value:
            return None
        return encode_element(element.tag, _vr(element), value, scope.encoding)

    def _top_level_text(self, tag: int) -> str:
        element = self._header.find(tag)
        if element is None:
            return ""
        return read_text(self._header.value(element), self._top_codecs)

    def _text(self, element: Element, scope: Scope) -> str:
        return read_text(self._header.value(element), scope.encodings)

    def _patient_id(self, element: Element, scope: Scope) -> str:
        value = self._text(element, scope)
        if not scope.path or value == self._top_level_text(tags.PATIENT_ID):
            return self.patient.patient_id
        return self._pseudonyms.identifier(Domain.PATIENT, value)

    def _patient_name(self, element: Element, scope: Scope) -> str:
        return self.patient.patient_name if self._text(element, scope) else ""

    def _accession_number(self, element: Element, scope: Scope) -> str:
        return self._within_patient(Domain.ACCESSION_NUMBER, element, scope)

    def _study_id(self, element: Element, scope: Scope) -> str:
        return self._within_patient(Domain.STUDY_ID, element, scope)

    def _within_patient(self, domain: Domain, element: Element, scope: Scope) -> str:
        value = self._text(element, scope)
        return self._pseudonyms.identifier(domain, value, self.patient.patient_id) if value else ""


PSEUDONYMOUS: Final[dict[int, Callable[[AttributeDeidentifier, Element, Scope], str]]] = {
    tags.PATIENT_NAME: AttributeDeidentifier._patient_name,
    tags.PATIENT_ID: AttributeDeidentifier._patient_id,
    tags.ACCESSION_NUMBER: AttributeDeidentifier._accession_number,
    tags.STUDY_ID: AttributeDeidentifier._study_id,
}


def _vr(element: Element) -> str:
    return effective_vr(element.tag, element.vr)


def _contradicts_dictionary(element: Element) -> bool:
    """Tell whether nobody can say what a value is, since its VR can't hold what the dictionary says it is.

    A sequence that couldn't be opened, or a number where a name is expected: rules and cleaners would miss it.
    """
    if element.value_start == element.value_stop:
        return False
    if element.items is None:
        return _vr(element) == "SQ" or not is_compatible(element.tag, element.vr)
    return not _is_sequence(element)


def _is_sequence(element: Element) -> bool:
    """Tell whether an element is a sequence and may be one: items in any other attribute are somebody's trick."""
    return element.items is not None and dictionary_vr(element.tag) in ("SQ", "UN")
