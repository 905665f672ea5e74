"""Risks that pixels or documents show a patient's identity, as far as a header tells."""

from __future__ import annotations

from typing import Final

from pydicom.uid import MPEGTransferSyntaxes

from runtime.deidentification.profile import Risk
from runtime.dicom import tags
from runtime.dicom.character_sets import read_ascii
from runtime.dicom.header import Header

_OVERLAY_GROUPS: Final = range(0x6000, 0x6020, 2)
_OVERLAY_BIT_POSITION: Final = 0x0102
_OVERLAY_DATA: Final = 0x3000

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
_SECONDARY_CAPTURE: Final = _STORAGE + "7"
_ULTRASOUND: Final = (_STORAGE + "3", _STORAGE + "3.1", _STORAGE + "6", _STORAGE + "6.1", _STORAGE + "6.2")
_VISIBLE_LIGHT: Final = _STORAGE + "77.1."
_VIDEOS: Final = (_STORAGE + "77.1.1.1", _STORAGE + "77.1.2.1", _STORAGE + "77.1.4.1")
_ENCAPSULATED: Final = _STORAGE + "104."

_AUDIO: Final = _STORAGE + "9.4."
_RAW_DATA: Final = _STORAGE + "66"

_CAPTURED: Final = frozenset(("WSD", "DV", "DRW"))
"""Workstation, digitized video, drawing: what a screen showed (DICOM PS3.3 C.8.6.1)."""
_SCANNED: Final = frozenset(("SD", "DF"))
_SLIDE_LABELS: Final = frozenset(("LABEL", "OVERVIEW"))
_ULTRASOUND_MODALITIES: Final = frozenset(("US", "IVUS"))
_VISIBLE_LIGHT_MODALITIES: Final = frozenset(("XC", "ES", "GM", "DMS", "OP"))
_FACE_MODALITIES: Final = frozenset(("CT", "MR", "PT"))
_HEAD: Final = frozenset(
    {"HEAD", "HEADNECK", "BRAIN", "SKULL", "FACE", "ORBIT", "SINUS", "JAW", "MAXILLA", "MANDIBLE", "NOSE", "EAR"}
    | {"TMJ", "PITUITARY", "ZYGOMA", "WHOLEBODY", "IAC"}
)


def assess_risks(header: Header) -> dict[Risk, bool]:
    """Return the risks that an object bears, each with whether the source attests that it is unfounded.

    The attestation is Burned In Annotation NO, for a recognizable face Recognizable Visual Features NO (DICOM PS3.3
    C.7.6.1.1). What an absent attribute would have said is not guessed: absent attests nothing.
    """
    no_text = _values(header, tags.BURNED_IN_ANNOTATION) == {"NO"}
    no_face = _values(header, tags.RECOGNIZABLE_VISUAL_FEATURES) == {"NO"}
    return {
        risk: no_face if risk is Risk.RECOGNIZABLE_FACE else no_text
        for risk, is_borne in _SIGNS.items()
        if is_borne(header)
    }


def _burned_in_annotation(header: Header) -> bool:
    """Tell whether the source declares text in its pixels, or an overlay in bits that no pixel value uses.

    Such an overlay (DICOM PS3.3 C.9.2 before 2004) has attributes but no Overlay Data: without them it stays in Pixel
    Data, where it was.
    """
    return "YES" in _values(header, tags.BURNED_IN_ANNOTATION) or any(
        header.text(group << 16 | _OVERLAY_BIT_POSITION) and not header.find(group << 16 | _OVERLAY_DATA)
        for group in _OVERLAY_GROUPS
    )  # the text of a number is empty where the number is zero: the first bit, which is a pixel's


def _secondary_capture(header: Header) -> bool:
    by_class = any(uid == _SECONDARY_CAPTURE or uid.startswith(_SECONDARY_CAPTURE + ".") for uid in _classes(header))
    return (
        by_class
        or any(value.startswith("SCREEN") for value in _values(header, tags.IMAGE_TYPE))
        or not _CAPTURED.isdisjoint(_values(header, tags.CONVERSION_TYPE))
    )


def _ultrasound(header: Header) -> bool:
    return not (_classes(header).isdisjoint(_ULTRASOUND) and _ULTRASOUND_MODALITIES.isdisjoint(_modalities(header)))


def _visible_light(header: Header) -> bool:
    by_class = any(uid.startswith(_VISIBLE_LIGHT) for uid in _classes(header))
    return by_class or not _VISIBLE_LIGHT_MODALITIES.isdisjoint(_modalities(header))


def _video(header: Header) -> bool:
    return header.transfer_syntax in MPEGTransferSyntaxes or not _classes(header).isdisjoint(_VIDEOS)


def _scanned_document(header: Header) -> bool:
    return not _SCANNED.isdisjoint(_values(header, tags.CONVERSION_TYPE)) or "DOC" in _modalities(header)


def _encapsulated_document(header: Header) -> bool:
    by_class = any(uid.startswith(_ENCAPSULATED) for uid in _classes(header))
    return by_class or header.find(tags.ENCAPSULATED_DOCUMENT) is not None


def _audio(header: Header) -> bool:
    return any(uid.startswith(_AUDIO) for uid in _classes(header)) or "AU" in _modalities(header)


def _opaque_data(header: Header) -> bool:
    return _RAW_DATA in _classes(header)


def _slide_label(header: Header) -> bool:
    if "YES" in _values(header, tags.SPECIMEN_LABEL_IN_IMAGE):
        return True
    return "SM" in _modalities(header) and not _SLIDE_LABELS.isdisjoint(_values(header, tags.IMAGE_TYPE))


def _recognizable_face(header: Header) -> bool:
    if "YES" in _values(header, tags.RECOGNIZABLE_VISUAL_FEATURES):
        return True
    return not (
        _FACE_MODALITIES.isdisjoint(_modalities(header)) or _HEAD.isdisjoint(_values(header, tags.BODY_PART_EXAMINED))
    )


def _classes(header: Header) -> set[str]:
    return _values(header, tags.SOP_CLASS_UID)


def _modalities(header: Header) -> set[str]:
    return _values(header, tags.MODALITY)


def _values(header: Header, tag: int) -> set[str]:
    """Return all values of an attribute, in capitals, of each element with its tag."""
    encoded = b"\\".join(map(header.value, header.find_all(tag)))
    return {value.strip("\0 ").upper() for value in read_ascii(encoded).split("\\")} - {""}


_SIGNS: Final = {
    Risk.BURNED_IN_ANNOTATION: _burned_in_annotation,
    Risk.SECONDARY_CAPTURE: _secondary_capture,
    Risk.ULTRASOUND: _ultrasound,
    Risk.VISIBLE_LIGHT: _visible_light,
    Risk.VIDEO: _video,
    Risk.SCANNED_DOCUMENT: _scanned_document,
    Risk.ENCAPSULATED_DOCUMENT: _encapsulated_document,
    Risk.AUDIO: _audio,
    Risk.OPAQUE_DATA: _opaque_data,
    Risk.SLIDE_LABEL: _slide_label,
    Risk.RECOGNIZABLE_FACE: _recognizable_face,
}
