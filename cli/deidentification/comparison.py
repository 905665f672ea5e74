"""A dry run: what a profile would do to a file, attribute by attribute, side by side."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cli.deidentification.explanation import explain
from cli.deidentification.folder import printable_path
from cli.tables import OneLine, shorten, text_table
from runtime.contract.objects import Finding, Severity
from runtime.deidentification.engine import Deidentifier, RejectedError
from runtime.deidentification.profile import Profile
from runtime.deidentification.pseudonyms import Pseudonyms
from runtime.deidentification.rules.resolution import Ruleset
from runtime.deidentification.rules.table import Action
from runtime.dicom.character_sets import DEFAULT_CODECS, decode_text
from runtime.dicom.checks.compliance import check_compliance
from runtime.dicom.elements import Element, Encoding, attribute_text
from runtime.dicom.errors import DicomError
from runtime.dicom.findings import from_error
from runtime.dicom.header import Header, read_header
from runtime.dicom.nesting import data_set_codecs
from runtime.dicom.source import BytesSource, FileSource

_COLUMNS: Final = ("attribute", "before", "after", "action", "why")
_VALUE_WIDTH: Final = 36
_SOP_CLASS_UID: Final = 0x00080016
_NUMBERS: Final = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d", "SV": "q", "UV": "Q"}
_BINARY: Final = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN", "AT"))


class _Entry(NamedTuple):
    """One element of a header."""

    place: str
    path: tuple[int, ...]
    shown: str
    value: bytes | None
    """None for a sequence"""
    vr: str
    creator: str | None


class _Comparison(NamedTuple):
    """What would happen to a file: the changes and its output key, or what is wrong with it."""

    changes: Sequence[tuple[str, ...]] = ()
    output_key: str | None = None
    findings: Sequence[Finding] = ()
    problem: str | None = None

    def document(self, source: str) -> dict[str, object]:
        """Return it for machines."""
        return {
            "source": source,
            "output_key": self.output_key,
            "changes": [dict(zip(_COLUMNS, change, strict=True)) for change in self.changes],
            "findings": [finding.model_dump(mode="json") for finding in self.findings],
            "problem": self.problem,
        }

    def text(self) -> str:
        """Return it for people."""
        if self.problem is not None:
            return f"failed: {self.problem}\n\n"
        if self.findings:
            return _refusal(self.findings)
        rows = [(*map(OneLine, change[:3]), *change[3:]) for change in self.changes]
        table = text_table([[column.upper() for column in _COLUMNS], *rows])
        return f"{table}All else is kept. Output key: {self.output_key}\n\n"


def print_comparison(files: Sequence[Path], profile: Profile, pseudonyms: Pseudonyms, *, as_json: bool = False) -> int:
    """Print for each file what would happen to it; return the exit status."""
    deidentifier, ruleset = Deidentifier(profile, pseudonyms), Ruleset(profile)
    refused = 0
    for path in files:
        try:
            compared = _comparison(read_header(FileSource(path)), deidentifier, ruleset)
        except RejectedError as rejection:
            compared = _Comparison(findings=rejection.findings)
        except DicomError as error:
            compared = _Comparison(findings=[from_error(error)])
        except OSError as error:
            compared = _Comparison(problem=error.strerror)
        source = printable_path(path)
        if as_json:
            sys.stdout.write(f"{json.dumps(compared.document(source))}\n")
        else:
            sys.stdout.write(f"{shorten(source, 80)}\n{compared.text()}")
        refused += compared.output_key is None
    return 1 if refused else 0


def _comparison(header: Header, deidentifier: Deidentifier, ruleset: Ruleset) -> _Comparison:
    findings = check_compliance(header)
    if any(finding.severity is Severity.ERROR for finding in findings):
        raise RejectedError(findings)
    result = deidentifier.deidentify(header)
    after = _entries(read_header(BytesSource(result.content)))
    before = _entries(header)
    changes = list(_rows(before, after, ruleset, header.text(_SOP_CLASS_UID) or ""))
    return _Comparison(changes, result.output_key)


def _rows(
    before: dict[str, _Entry], after: dict[str, _Entry], ruleset: Ruleset, sop_class_uid: str
) -> Iterator[tuple[str, ...]]:
    """Yield a row for each element that a rule names or that is not what it was; of a removed sequence just one."""
    removed = "\0"
    for place, entry in before.items():
        if place.startswith(removed):
            continue
        explanation = explain(ruleset, entry.path, sop_class_uid=sop_class_uid, creator=entry.creator)
        new = after.get(place)
        if new is None and entry.value is None:
            removed = f"{place}["
        if new is not None and new.value == entry.value and entry.path[-1] not in ruleset.decisions:
            continue
        action, why = explanation.meaning, explanation.reason
        if explanation.resolved is Action.KEEP and (new is None or new.value != entry.value):
            action, why = _exception(entry, new, ruleset)
        yield _end(place), entry.shown, "-" if new is None else new.shown, action, why
    for place, entry in after.items():
        if place not in before and len(entry.path) == 1:
            yield _end(place), "-", entry.shown, "add", "says what was done to the object"


def _end(place: str) -> str:
    """Cut a long place at its beginning: its end says which attribute it is."""
    return place if len(place) <= _VALUE_WIDTH else f"...{place[3 - _VALUE_WIDTH :]}"


def _exception(entry: _Entry, new: _Entry | None, ruleset: Ruleset) -> tuple[str, str]:
    """Say why a value changed although its attribute is kept."""
    if new is None:
        return "remove", "private creator of a block of which nothing is kept"
    if entry.vr == "AS":
        return "cap", "an age over 89 years identifies (45 CFR 164.514)"
    if entry.creator is not None:
        return "clean", "safe private attribute, of which text, dates, names and UIDs are treated by their VR"
    for sequence in reversed(entry.path[:-1]):
        if sequence in ruleset.decisions:
            reason = f"text inside {attribute_text(sequence)}: {ruleset.decisions[sequence].reason}"
            return "clean" if ruleset.actions[sequence] is Action.CLEAN else "replace", reason
    return "clean", "the search before release found an identifier of the header in it"


def _refusal(findings: Sequence[Finding]) -> str:
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    rows = [("quarantined", finding.code, finding.attribute or "", finding.message) for finding in errors]
    return f"{text_table(rows)}\n"


def _entries(header: Header) -> dict[str, _Entry]:
    """Return all elements by their place, such as ``ContentSequence[1].TextValue``, in the order of the header."""
    found: dict[str, _Entry] = {}
    pending = [_DataSet(header, header.data_set.elements, "", (), DEFAULT_CODECS, header.encoding)]
    while pending:
        data_set = pending[-1]
        element = next(data_set.elements, None)
        if element is None:
            pending.pop()
            continue
        entry = data_set.entry(element)
        found[entry.place] = entry
        pending += [
            _DataSet(header, item.elements, f"{entry.place}[{number}].", entry.path, data_set.codecs, item.encoding)
            for number, item in reversed(list(enumerate(element.items or (), 1)))
        ]
    return found


class _DataSet:
    """A data set, the top-level one or an item's, that is being listed."""

    def __init__(
        self,
        header: Header,
        elements: list[Element],
        place: str,
        path: tuple[int, ...],
        codecs: tuple[str, ...],
        encoding: Encoding,
    ) -> None:
        self.elements = iter(elements)
        self.codecs = data_set_codecs(header, elements, codecs)
        self._header = header
        self._place = place
        self._path = path
        self._order = encoding.byte_order
        self._creators = {
            element.tag: decode_text(header.value(element), self.codecs).strip("\0 ")
            for element in elements
            if element.tag & 0x10000 and 0x10 <= element.tag & 0xFFFF <= 0xFF
        }

    def entry(self, element: Element) -> _Entry:
        """Return an element as it is listed."""
        tag = element.tag
        return _Entry(
            place=self._place + attribute_text(tag),
            path=(*self._path, tag),
            shown=self._shown(element),
            value=None if element.items is not None else self._header.value(element).rstrip(b"\0 "),
            vr=element.vr,
            creator=self._creators.get(tag & 0xFFFF0000 | tag >> 8 & 0xFF),
        )

    def _shown(self, element: Element) -> str:
        if element.items is not None:
            return f"{len(element.items)} item{'s' * (len(element.items) != 1)}"
        value = self._header.value(element)
        if not value:
            return "(empty)"
        number = _NUMBERS.get(element.vr)
        if number is not None and len(value) % struct.calcsize(number) == 0:
            return "\\".join(f"{each[0]:g}" for each in struct.iter_unpack(self._order + number, value))
        if element.vr in _BINARY:
            return f"{len(value)} bytes"
        return decode_text(value, self.codecs, person_name=element.vr == "PN").strip("\0 ")
