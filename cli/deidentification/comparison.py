"""Dry run: a file's header before and after, side by side, with the engine's decisions."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cli.deidentification.explanation import word
from cli.deidentification.folder import printable_path
from cli.tables import OneLine, shorten, text_table
from runtime.contract.objects import Finding, Severity
from runtime.deidentification.engine import Deidentified, Deidentifier, RejectedError
from runtime.deidentification.profile import Profile
from runtime.deidentification.pseudonyms import Pseudonyms
from runtime.dicom.character_sets import read_text
from runtime.dicom.checks.compliance import check_compliance
from runtime.dicom.elements import Element, attribute_text
from runtime.dicom.errors import DicomError
from runtime.dicom.findings import from_error
from runtime.dicom.header import Header, read_header
from runtime.dicom.nesting import NestedDataSet, nested_data_sets
from runtime.dicom.source import BytesSource, FileSource
from runtime.dicom.vr import OPAQUE_VRS

_COLUMNS: Final = ("attribute", "before", "after", "action", "why")
_VALUE_WIDTH: Final = 36
_NUMBERS: Final = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d", "SV": "q", "UV": "Q"}
_BINARY: Final = OPAQUE_VRS | {"AT"}


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
    deidentifier = Deidentifier(profile, pseudonyms)
    refused = 0
    for path in files:
        try:
            compared = _comparison(read_header(FileSource(path)), deidentifier)
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


def _comparison(header: Header, deidentifier: Deidentifier) -> _Comparison:
    findings = check_compliance(header)
    if any(finding.severity is Severity.ERROR for finding in findings):
        raise RejectedError(findings)
    result = deidentifier.deidentify(header)
    return _Comparison(list(_rows(header, result)), result.output_key)


def _rows(header: Header, result: Deidentified) -> Iterator[tuple[str, ...]]:
    """Yield a row for each element that something was decided for, then for each that was added."""
    decisions = {element.start: decision for element, decision in result.decisions}
    after = {place: shown for place, _, shown in _entries(read_header(BytesSource(result.header)))}
    places = set()
    for place, element, shown in _entries(header):
        places.add(place)
        decision = decisions.get(element.start)
        if decision is not None:
            action = word(element.tag, decision.action)
            yield _end(place), shown, after.get(place, "-"), action, decision.reason
    for place, shown in after.items():
        if place not in places and "." not in place:
            yield _end(place), "-", shown, "add", "says what was done to the object"


def _end(place: str) -> str:
    """Cut a long place at its beginning: its end says which attribute it is."""
    return place if len(place) <= _VALUE_WIDTH else f"...{place[3 - _VALUE_WIDTH :]}"


def _refusal(findings: Sequence[Finding]) -> str:
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    rows = [("quarantined", finding.code, finding.attribute or "", finding.message) for finding in errors]
    return f"{text_table(rows)}\n"


def _entries(header: Header) -> list[tuple[str, Element, str]]:
    """Return place, such as ``ContentSequence[1].TextValue``, and text of all elements in the order of the header."""
    found = [
        (data_set.path + attribute_text(element.tag), element, _shown(header, element, data_set))
        for data_set in nested_data_sets(header)
        for element in data_set.elements
    ]
    return sorted(found, key=lambda entry: entry[1].start)


def _shown(header: Header, element: Element, data_set: NestedDataSet) -> str:
    if element.items is not None:
        return f"{len(element.items)} item{'s' * (len(element.items) != 1)}"
    value = header.value(element)
    if not value:
        return "(empty)"
    number = _NUMBERS.get(element.vr)
    if number is not None and len(value) % struct.calcsize(number) == 0:
        return "\\".join(f"{each[0]:g}" for each in struct.iter_unpack(data_set.encoding.byte_order + number, value))
    if element.vr in _BINARY:
        return f"{len(value)} bytes"
    return read_text(value, data_set.codecs, person_name=element.vr == "PN")
