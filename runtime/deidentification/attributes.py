"""What happens to each attribute of one header: the actions of DICOM PS3.15 Table E.1-1a on encoded values."""

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
from runtime.deidentification.rules.private import safe_private_attributes
from runtime.deidentification.rules.resolution import Ruleset
from runtime.deidentification.rules.table import Action
from runtime.deidentification.rules.types import attribute_type, resolve
from runtime.deidentification.text import TextCleaner
from runtime.dicom.character_sets import DEFAULT_CODECS, decode_text, encode_text
from runtime.dicom.dictionary import dictionary_vr, effective_vr, is_compatible, is_in_dictionary
from runtime.dicom.elements import Element, Item
from runtime.dicom.header import Header
from runtime.dicom.nesting import data_set_codecs

PATIENT_NAME: Final = 0x00100010
PATIENT_ID: Final = 0x00100020
ISSUER_OF_PATIENT_ID: Final = 0x00100021
ACCESSION_NUMBER: Final = 0x00080050
STUDY_ID: Final = 0x00200010
SOP_CLASS_UID: Final = 0x00080016
STUDY_INSTANCE_UID: Final = 0x0020000D

_LONGEST_PATH: Final = 3
"""Sequences around one that its path holds: no type needs more, and of a million deep items each holds its path."""
_TEXT_VRS: Final = frozenset(("AE", "CS", "SH", "LO", "ST", "LT", "UT", "UC"))
_SINGLE_VALUED_TEXT: Final = frozenset(("ST", "LT", "UT"))
_PROSE: Final = frozenset(("LT", "ST", "UC", "UT"))
"""VRs of text that is long enough to say anything."""
_NEEDING_JUDGEMENT: Final = frozenset((Action.KEEP, Action.CLEAN))
"""Actions whose outcome depends on what the value is."""
_DATE_VRS: Final = frozenset(("DA", "DT"))
_CONTENT_ACTIONS: Final[Mapping[Action | None, Action]] = {
    Action.CLEAN: Action.CLEAN,
    Action.DUMMY: Action.DUMMY,
    Action.MAP_UID: Action.DUMMY,
}
"""What a rule for a sequence asks of the text in it; of references nothing but their UIDs is wanted."""
_PRIVATE: Final = 0x10000
_CODE_MEANING: Final = 0x00080104
_CODE: Final = frozenset((0x00080100, 0x00080102, 0x00080103, 0x00080119, 0x00080120))
"""CodeValue, CodingSchemeDesignator and -Version, LongCodeValue, URNCodeValue: say which, not what."""


class AttributeDeidentifier:
    """Decides the attributes of one header; `decide` and `enter` drive a `Rewriter`.

    Parameters
    ----------
    header
        The source.
    ruleset
        What the profile makes of the standard's table.
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
        self._also_clean = also_clean
        self._actions = ruleset.actions
        self._pseudonyms = pseudonyms
        self._top_codecs = data_set_codecs(header, header.data_set.elements, DEFAULT_CODECS)
        self.identifiers = collect_identifiers(header, ruleset.actions)
        self.sop_class_uid = header.text(SOP_CLASS_UID) or ""
        self.touched: list[tuple[int, Action]] = []
        """tag and action of every element, at every depth, that a rule names or that no rule allows"""
        self.cleaned: list[tuple[Element, bytes]] = []
        """elements whose text was cleaned, with the new value"""
        self.copied: list[Element] = []
        """elements that stay as they are; of sequences what is in them"""
        self._apply: Final[dict[Action, Callable[[Element, Scope], bytes | None]]] = {
            Action.KEEP: self._keep,
            Action.REMOVE: self._remove,
            Action.EMPTY: self._empty,
            Action.DUMMY: self._dummy,
            Action.MAP_UID: self._map_uids,
            Action.CLEAN: self._clean,
        }

    @cached_property
    def patient(self) -> PatientPseudonyms:
        """The patient's pseudonyms, within the scope of the issuer of PatientID."""
        return self._pseudonyms.patient(
            self._top_level_text(PATIENT_ID),
            self._top_level_text(ISSUER_OF_PATIENT_ID),
            self._header.text(STUDY_INSTANCE_UID) or "",
        )

    @cached_property
    def date_shift(self) -> DateShift | None:
        """How the patient's dates move; None where the profile doesn't move dates."""
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
        elements = self._header.data_set.elements
        kept_private = self._kept_private(elements, self._top_codecs)
        return Scope((), self._header.encoding, self._top_codecs, kept_private)

    def enter(self, element: Element, item: Item, scope: Scope) -> Scope:
        """Return the scope of an item."""
        codecs = data_set_codecs(self._header, item.elements, scope.encodings)
        tag = element.tag
        own_action = Action.CLEAN if tag in scope.kept_private else _CONTENT_ACTIONS.get(self._action(tag, scope))
        return Scope(
            (*scope.path[-_LONGEST_PATH:], tag),
            item.encoding,
            codecs,
            self._kept_private(item.elements, codecs),
            own_action or scope.content_action,
            keeps_codes=own_action is not Action.DUMMY,
        )

    def _action(self, tag: int, scope: Scope) -> Action | None:
        """Return the simple action of the rule that names an attribute, None where none does."""
        action = self._actions.get(tag)
        if action is None or action in self._apply:
            return action
        return resolve(action, attribute_type(self.sop_class_uid, (*scope.path, tag)))

    def decide(self, element: Element, scope: Scope) -> bytes | None:
        """Return an element's new encoding, empty to remove it, None to keep it and go into its items."""
        tag = element.tag
        if tag & _PRIVATE and tag not in scope.kept_private:
            self.touched.append((tag, Action.REMOVE))
            return b""
        new = self._decide(element, scope)
        if new is None and not element.items:
            self.copied.append(element)
        return new

    def _decide(self, element: Element, scope: Scope) -> bytes | None:
        tag = element.tag
        action = self._action(tag, scope)
        if action is None:
            if tag in scope.kept_private:
                return self._private(element, scope)
            if is_in_dictionary(tag) and not _contradicts_dictionary(element):
                return self._unlisted(element, scope)
            action = Action.REMOVE
        elif action in _NEEDING_JUDGEMENT and _contradicts_dictionary(element):
            type_ = attribute_type(self.sop_class_uid, (*scope.path, tag))
            action = resolve(Action.REMOVE_OR_EMPTY_OR_DUMMY, type_)
        self.touched.append((tag, action))
        return self._apply[action](element, scope)

    def _keep(self, element: Element, scope: Scope) -> bytes | None:
        if element.start in self._also_clean and _vr(element) in _TEXT_VRS:
            return self._clean(element, scope)
        if _vr(element) == "AS" and element.items is None:
            return self._replace(element, scope, self._map_values(element, cap_age))
        return None

    def _remove(self, element: Element, scope: Scope) -> bytes:  # noqa: ARG002 - all actions are called alike
        return b""

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
        if element.items is None and vr in _DATE_VRS and self.date_shift is not None:
            shift = self.date_shift.shift_da if vr == "DA" else self.date_shift.shift_dt
            return self._replace(element, scope, self._map_values(element, shift))
        if element.items is None and vr in _TEXT_VRS:
            return self._clean_text(element, scope, vr)
        return self._dummy(element, scope)

    def _clean_text(self, element: Element, scope: Scope, vr: str) -> bytes | None:
        value = self._header.value(element)
        if not value:
            return None
        text = decode_text(value, scope.encodings).rstrip("\0 ").replace("\0", "")
        separator = "\n" if vr in _SINGLE_VALUED_TEXT else "\\"
        parts = [text] if vr in _SINGLE_VALUED_TEXT else text.split("\\")
        cleaned = separator.join(self.cleaner.clean(part) for part in parts)
        if cleaned == text:
            self.cleaned.append((element, value))
            return None
        encoded = encode_text(cleaned, scope.encodings)
        type_ = attribute_type(self.sop_class_uid, (*scope.path, element.tag))
        if not encoded.strip() and (type_ is None or type_ in ("1", "1C")):
            encoded = dummy_value(vr)
        self.cleaned.append((element, encoded))
        return self._replace(element, scope, encoded)

    def _unlisted(self, element: Element, scope: Scope) -> bytes | None:
        """Treat an attribute without a rule: of prose, inside a sequence with one, or in which residue was found.

        What a structured report says stands in attributes that the table doesn't name, such as Text Value; it names
        the sequence (DICOM PS3.15 E.3.4).
        """
        vr = _vr(element)
        if element.items is not None or vr not in _TEXT_VRS:
            return None
        is_code = element.tag in _CODE
        cleans = (scope.content_action is Action.CLEAN and vr != "CS") or (self._ruleset.cleans_text and vr in _PROSE)
        if element.start in self._also_clean or (cleans and not is_code):
            self.touched.append((element.tag, Action.CLEAN))
            return self._clean(element, scope)
        is_code = is_code or element.tag == _CODE_MEANING
        if scope.content_action is Action.DUMMY and vr != "CS" and not (is_code and scope.keeps_codes):
            self.touched.append((element.tag, Action.DUMMY))
            return self._dummy(element, scope)
        return None

    def _private(self, element: Element, scope: Scope) -> bytes | None:
        """Keep a safe private attribute; by its VR what it holds may have to be treated all the same."""
        vr = scope.kept_private[element.tag]
        if element.tag & 0xFF00 == 0 or element.items is not None:
            return None
        if vr == "PN":
            return self._replace(element, scope, b"")
        if vr == "UI":
            return self._map_uids(element, scope)
        if vr in _DATE_VRS or vr in _TEXT_VRS:
            return self._clean(element, scope)
        return None

    def _kept_private(self, elements: list[Element], codecs: tuple[str, ...]) -> dict[int, str]:
        return safe_private_attributes(self._header, elements, codecs) if self._ruleset.keeps_safe_private else {}

    def _map_values(self, element: Element, change: Callable[[str], str | None]) -> bytes:
        """Change each value of a multi-valued element; one that can't be changed is emptied."""
        values = self._header.value(element).decode("ascii", "replace").strip("\0 ").split("\\")
        return "\\".join(change(value) or "" for value in values).encode("ascii", "replace")

    def _replace(self, element: Element, scope: Scope, value: bytes) -> bytes | None:
        if self._header.value(element) == value:
            return None
        return encode_element(element.tag, _vr(element), value, scope.encoding)

    def _top_level_text(self, tag: int) -> str:
        element = self._header.find(tag)
        if element is None:
            return ""
        return decode_text(self._header.value(element), self._top_codecs).strip("\0 ")

    def _text(self, element: Element, scope: Scope) -> str:
        return decode_text(self._header.value(element), scope.encodings).strip("\0 ")

    def _patient_id(self, element: Element, scope: Scope) -> str:
        value = self._text(element, scope)
        if not scope.path or value == self._top_level_text(PATIENT_ID):
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
    PATIENT_NAME: AttributeDeidentifier._patient_name,
    PATIENT_ID: AttributeDeidentifier._patient_id,
    ACCESSION_NUMBER: AttributeDeidentifier._accession_number,
    STUDY_ID: AttributeDeidentifier._study_id,
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
