"""What may show a patient's identity in pixels or documents, as far as a header tells."""

from __future__ import annotations

from typing import Final

from pydicom.uid import MPEGTransferSyntaxes

from runtime.deidentification.profile import Risk
from runtime.dicom.header import Header

_SOP_CLASS_UID: Final = 0x00080016
_IMAGE_TYPE: Final = 0x00080008
_MODALITY: Final = 0x00080060
_CONVERSION_TYPE: Final = 0x00080064
_BODY_PART_EXAMINED: Final = 0x00180015
_BURNED_IN_ANNOTATION: Final = 0x00280301
_RECOGNIZABLE_VISUAL_FEATURES: Final = 0x00280302
_SPECIMEN_LABEL_IN_IMAGE: Final = 0x00480010

_OVERLAY_GROUPS: Final = range(0x6000, 0x6020, 2)
_OVERLAY_BIT_POSITION: Final = 0x0102
_OVERLAY_DATA: Final = 0x3000

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
_SECONDARY_CAPTURE: Final = _STORAGE + "7"
_ULTRASOUND: Final = (_STORAGE + "3", _STORAGE + "3.1", _STORAGE + "6", _STORAGE + "6.1", _STORAGE + "6.2")
_VISIBLE_LIGHT: Final = _STORAGE + "77.1."
_VIDEOS: Final = (_STORAGE + "77.1.1.1", _STORAGE + "77.1.2.1", _STORAGE + "77.1.4.1")
_ENCAPSULATED: Final = _STORAGE + "104."

_SCREEN_SAVES: Final = frozenset(("SCREEN SAVE", "SCREENSAVE", "SCREEN_SAVE", "SCREENSHOT", "SCREEN CAPTURE"))
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
    no_text = header.text(_BURNED_IN_ANNOTATION) == "NO"
    no_face = header.text(_RECOGNIZABLE_VISUAL_FEATURES) == "NO"
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
    return header.text(_BURNED_IN_ANNOTATION) == "YES" or any(
        header.text(group << 16 | _OVERLAY_BIT_POSITION) and not header.find(group << 16 | _OVERLAY_DATA)
        for group in _OVERLAY_GROUPS
    )  # the text of a number is empty where the number is zero: the first bit, which is a pixel's


def _secondary_capture(header: Header) -> bool:
    sop_class = header.text(_SOP_CLASS_UID) or ""
    is_class = sop_class == _SECONDARY_CAPTURE or sop_class.startswith(_SECONDARY_CAPTURE + ".")
    return is_class or not _SCREEN_SAVES.isdisjoint(_values(header, _IMAGE_TYPE))


def _ultrasound(header: Header) -> bool:
    return header.text(_SOP_CLASS_UID) in _ULTRASOUND or header.text(_MODALITY) in _ULTRASOUND_MODALITIES


def _visible_light(header: Header) -> bool:
    sop_class = header.text(_SOP_CLASS_UID) or ""
    return sop_class.startswith(_VISIBLE_LIGHT) or header.text(_MODALITY) in _VISIBLE_LIGHT_MODALITIES


def _video(header: Header) -> bool:
    return header.transfer_syntax in MPEGTransferSyntaxes or header.text(_SOP_CLASS_UID) in _VIDEOS


def _scanned_document(header: Header) -> bool:
    return header.text(_CONVERSION_TYPE) in ("SD", "DF") or header.text(_MODALITY) == "DOC"


def _encapsulated_document(header: Header) -> bool:
    return (header.text(_SOP_CLASS_UID) or "").startswith(_ENCAPSULATED) or header.find(0x00420011) is not None


def _slide_label(header: Header) -> bool:
    if header.text(_SPECIMEN_LABEL_IN_IMAGE) == "YES":
        return True
    return header.text(_MODALITY) == "SM" and not _SLIDE_LABELS.isdisjoint(_values(header, _IMAGE_TYPE))


def _recognizable_face(header: Header) -> bool:
    if header.text(_RECOGNIZABLE_VISUAL_FEATURES) == "YES":
        return True
    return header.text(_MODALITY) in _FACE_MODALITIES and header.text(_BODY_PART_EXAMINED) in _HEAD


def _values(header: Header, tag: int) -> list[str]:
    return [value.strip() for value in (header.text(tag) or "").split("\\")]


_SIGNS: Final = {
    Risk.BURNED_IN_ANNOTATION: _burned_in_annotation,
    Risk.SECONDARY_CAPTURE: _secondary_capture,
    Risk.ULTRASOUND: _ultrasound,
    Risk.VISIBLE_LIGHT: _visible_light,
    Risk.VIDEO: _video,
    Risk.SCANNED_DOCUMENT: _scanned_document,
    Risk.ENCAPSULATED_DOCUMENT: _encapsulated_document,
    Risk.SLIDE_LABEL: _slide_label,
    Risk.RECOGNIZABLE_FACE: _recognizable_face,
}
