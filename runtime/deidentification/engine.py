"""De-identification of one object: a header in, a header out, the bulk data by its origin."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from runtime.contract.objects import Finding
from runtime.contract.steps import AppliedProfile
from runtime.deidentification.attributes import AttributeDeidentifier
from runtime.deidentification.profile import Policy, Profile, Risk
from runtime.deidentification.pseudonyms import Pseudonyms
from runtime.deidentification.report import DeidentificationReport
from runtime.deidentification.rewriting import Rewriter, encode_element, encode_sequence
from runtime.deidentification.risks import assess_risks
from runtime.deidentification.rules.decision import Decision
from runtime.deidentification.rules.options import MethodCode, Option
from runtime.deidentification.rules.resolution import DECLARATIONS, Ruleset
from runtime.dicom import tags
from runtime.dicom.bulk_data import BulkData, locate_bulk_data
from runtime.dicom.elements import ENCODINGS, EXPLICIT_LITTLE, Element, Encoding, attribute_text
from runtime.dicom.errors import DicomError
from runtime.dicom.findings import finding
from runtime.dicom.header import Header
from runtime.dicom.source import ByteSource, Origin
from runtime.dicom.vr import TOLERATED_UID

IMPLEMENTATION_CLASS_UID: Final = "2.25.155107183563541413047229446246413846387"
IMPLEMENTATION_VERSION_NAME: Final = "MED_IMG_PIPELINE"

_REQUIRED_UIDS: Final = {
    tags.SOP_CLASS_UID: "MISSING_SOP_CLASS_UID",
    tags.SOP_INSTANCE_UID: "MISSING_SOP_INSTANCE_UID",
    tags.STUDY_INSTANCE_UID: "MISSING_STUDY_INSTANCE_UID",
    tags.SERIES_INSTANCE_UID: "MISSING_SERIES_INSTANCE_UID",
}
_PREAMBLE: Final = b"\0" * 128 + b"DICM"


class RejectedError(Exception):
    """The object must not be released. Its text names reason codes, never values.

    Parameters
    ----------
    findings
        One for each reason.
    """

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__(" ".join(reason.code for reason in findings))
        self.findings = findings


@dataclass(frozen=True)
class Deidentified:
    """A de-identified object: `header`, then the bytes of `origin`."""

    header: bytes
    """all up to the value of the bulk data; of a deflated object all of it"""
    origin: Origin | None
    """of the bulk data's value; None where nothing follows `header`"""
    output_key: str
    """``<patient>/<study>/<series>/<instance>.dcm``, pseudonyms all"""
    report: DeidentificationReport
    decisions: Sequence[tuple[Element, Decision]] = field(repr=False)
    """elements of the source with what was decided for each; all others are kept, since no rule names them"""

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.header) + (0 if self.origin is None else self.origin.size)

    @property
    def attributes(self) -> dict[str, Decision]:
        """Decisions by keyword; of an attribute that is there more than once the last one."""
        return {attribute_text(element.tag): decision for element, decision in self.decisions}


class Deidentifier:
    """De-identifies objects by one profile under one key. Safe to use from several threads.

    Parameters
    ----------
    profile
        Rules and policies for risks.
    pseudonyms
        Under the stage's key.

    Attributes
    ----------
    applied
        Names of profile and key, and the hash of the rules.
    """

    def __init__(self, profile: Profile, pseudonyms: Pseudonyms) -> None:
        self._profile = profile
        self._pseudonyms = pseudonyms
        self._ruleset = Ruleset(profile)
        self.applied = AppliedProfile(
            profile=profile.name, profile_hash=profile.content_hash(self._ruleset.digest), key_id=pseudonyms.key_id
        )
        self._declared = {encoding: self._declarations(encoding) for encoding in ENCODINGS}

    def deidentify(
        self, header: Header, *, release_risks: bool = False, staged: ByteSource | None = None
    ) -> Deidentified:
        """De-identify one object (DICOM PS3.15 E.1.1).

        Parameters
        ----------
        header
            Of the object.
        release_risks
            A person decided that the object's risks don't keep it in quarantine; everything else still may.
        staged
            Value of the bulk data that the result has instead of the source's, encoded alike.

        Raises
        ------
        ValueError
            The object has no bulk data that `staged` could replace, or native data of another length.
        RejectedError
            The profile's policy forbids a release, or an identifier of the source was left in the result.
        DicomError
            A UID without which the object has no place is missing or, where it is kept, no UID; the header names more
            identifiers than can be searched for; or the bulk data can't be located.
        """
        for tag, code in _REQUIRED_UIDS.items():
            uid = header.text(tag) or ""
            is_kept = tag == tags.SOP_CLASS_UID or self._ruleset.keeps_uids
            # One that is kept says nothing else, and leads nowhere else as a part of the output key.
            if not uid or (is_kept and not TOLERATED_UID.fullmatch(uid.encode("ascii", "replace"))):
                raise DicomError(code, attribute=attribute_text(tag))
        risks = list(assess_risks(header)) if release_risks else self._released_risks(header)
        bulk_data = locate_bulk_data(header)
        attributes, rewritten = self._rewrite(header)
        data_set = header.data_set
        content, origin = self._join(header, rewritten, bulk_data, _origin(header, bulk_data, staged))
        report = DeidentificationReport(
            **self.applied.model_dump(),
            options=tuple(sorted(self._profile.options)),
            action_counts=Counter([decision.action for _, decision in attributes.decisions]),
            risks=tuple(risk.value for risk in risks),
            trailing_bytes_dropped=header.source.size - (data_set.stop if bulk_data is None else bulk_data.stop),
        )
        return Deidentified(content, origin, self._output_key(header, attributes), report, attributes.decisions)

    def _rewrite(self, header: Header) -> tuple[AttributeDeidentifier, bytes]:
        """Write the data set anew and search it; where the profile cleans text, clean what the search finds once."""
        also_clean: frozenset[int] = frozenset()
        while True:
            attributes = AttributeDeidentifier(header, self._ruleset, self._pseudonyms, also_clean)
            content = Rewriter(header.content, attributes.decide, attributes.enter).rewrite(
                header.data_set.elements,
                header.data_set.elements[0].start,
                header.data_set.stop,
                attributes.top_scope(),
                self._declared[header.encoding],
            )
            residue = attributes.residue_search().find(attributes.copied, attributes.cleaned)
            if not residue:
                return attributes, content
            if also_clean or Option.CLEAN_DESCRIPTORS not in self._profile.options:
                raise RejectedError([finding("RESIDUAL_IDENTIFIER", attribute=path) for path in residue.values()])
            also_clean = frozenset(element.start for element in residue)

    def _released_risks(self, header: Header) -> list[Risk]:
        """Return the risks that the object bears and its policy releases; reject it for the others."""
        risks = assess_risks(header)
        refused = [
            risk for risk, attested in risks.items() if not self._profile.risks[risk].releases(attested=attested)
        ]
        if refused:
            raise RejectedError([finding(risk.code) for risk in refused])
        return [risk for risk in risks if self._profile.risks[risk] is not Policy.QUARANTINE]

    def _uid(self, header: Header, tag: int) -> str:
        uid = header.text(tag) or ""
        return uid if self._ruleset.keeps_uids else self._pseudonyms.uid(uid)

    def _output_key(self, header: Header, attributes: AttributeDeidentifier) -> str:
        study, series, instance = (
            self._uid(header, tag) for tag in (tags.STUDY_INSTANCE_UID, tags.SERIES_INSTANCE_UID, tags.SOP_INSTANCE_UID)
        )
        return f"{attributes.patient.patient_id}/{study}/{series}/{instance}.dcm"

    def _declarations(self, encoding: Encoding) -> list[tuple[int, bytes]]:
        """Return the elements by which the result says what was done to it (DICOM PS3.15 E.1.1, PS3.3 C.7.1.1)."""
        applied = self.applied
        method = "\\".join((f"profile {applied.profile}", applied.profile_hash, f"key {applied.key_id}"))
        codes = [_code_item(code, encoding) for code in self._profile.method_codes]
        temporal = self._profile.longitudinal_temporal_information_modified.encode("ascii")
        identity_removed, deidentification_method, method_codes, temporal_information = DECLARATIONS
        return [
            (identity_removed, encode_element(identity_removed, "CS", b"YES", encoding)),
            (deidentification_method, encode_element(deidentification_method, "LO", method.encode("ascii"), encoding)),
            (method_codes, encode_sequence(method_codes, codes, encoding)),
            (temporal_information, encode_element(temporal_information, "CS", temporal, encoding)),
        ]

    def _join(
        self, header: Header, data_set: bytes, bulk_data: BulkData | None, origin: Origin | None
    ) -> tuple[bytes, Origin | None]:
        """Return the result's own bytes and the origin of those that follow them."""
        meta = _PREAMBLE + self._file_meta(header)
        opening = b""
        if bulk_data is not None:
            opening = header.source.read(bulk_data.element.start, bulk_data.element.value_start)
        if not header.transfer_syntax.is_deflated:
            return meta + data_set + opening, origin
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        value = b"" if origin is None else origin.read()
        deflated = b"".join((*map(deflater.compress, (data_set, opening, value)), deflater.flush()))
        return meta + deflated + b"\0" * (len(deflated) % 2), None

    def _file_meta(self, header: Header) -> bytes:
        """Return new file meta information (DICOM PS3.10 7.1)."""
        sop_class_uid = header.text(tags.SOP_CLASS_UID) or ""
        sop_instance_uid = self._uid(header, tags.SOP_INSTANCE_UID)
        elements = (
            (tags.FILE_META_INFORMATION_VERSION, "OB", b"\0\1"),
            (tags.MEDIA_STORAGE_SOP_CLASS_UID, "UI", sop_class_uid.encode("ascii", "replace")),
            (tags.MEDIA_STORAGE_SOP_INSTANCE_UID, "UI", sop_instance_uid.encode("ascii", "replace")),
            (tags.TRANSFER_SYNTAX_UID, "UI", header.transfer_syntax.encode("ascii")),
            (tags.IMPLEMENTATION_CLASS_UID, "UI", IMPLEMENTATION_CLASS_UID.encode("ascii")),
            (tags.IMPLEMENTATION_VERSION_NAME, "SH", IMPLEMENTATION_VERSION_NAME.encode("ascii")),
        )
        group = b"".join(encode_element(tag, vr, value, EXPLICIT_LITTLE) for tag, vr, value in elements)
        length = struct.pack("<L", len(group))
        return encode_element(tags.FILE_META_INFORMATION_GROUP_LENGTH, "UL", length, EXPLICIT_LITTLE) + group


def _origin(header: Header, bulk_data: BulkData | None, staged: ByteSource | None) -> Origin | None:
    """Return the origin of the result's bulk data: the object itself, or what was staged instead."""
    if staged is None:
        if bulk_data is None or bulk_data.start == bulk_data.stop:
            return None
        return Origin(header.source, bulk_data.start, bulk_data.stop)
    if bulk_data is None:
        raise ValueError("bulk data was staged for an object that has none")
    if bulk_data.fragments is None and staged.size != bulk_data.stop - bulk_data.start:
        raise ValueError("staged native data must be as long as the source's")
    return Origin(staged, 0, staged.size)


def _code_item(code: MethodCode, encoding: Encoding) -> bytes:
    """Encode an item of De-identification Method Code Sequence with a code of DICOM PS3.16 CID 7050."""
    elements = (
        (tags.CODE_VALUE, "SH", code.value),
        (tags.CODING_SCHEME_DESIGNATOR, "SH", "DCM"),
        (tags.CODE_MEANING, "LO", code.meaning),
    )
    return b"".join(encode_element(tag, vr, value.encode("ascii"), encoding) for tag, vr, value in elements)
