"""What a header can't judge follows the profile's policy."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import (
    HEVCMP51,
    MPEG4HP41,
    UID,
    CTImageStorage,
    EncapsulatedCDAStorage,
    EncapsulatedPDFStorage,
    EncapsulatedSTLStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    VideoEndoscopicImageStorage,
    VLPhotographicImageStorage,
    VLWholeSlideMicroscopyImageStorage,
)

from runtime.deidentification.engine import Deidentified, Deidentifier, RejectedError
from runtime.deidentification.profile import Policy, Risk, load_profile
from runtime.deidentification.pseudonyms import Pseudonyms
from runtime.deidentification.risks import assess_risks
from runtime.dicom.header import read_header
from runtime.dicom.source import BytesSource
from tests.deidentification import KEY, bundled_file, encoded, opened

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

SLIDE = {"SOPClassUID": VLWholeSlideMicroscopyImageStorage, "Modality": "SM"}
BEARERS: list[tuple[Risk, dict[str, Any]]] = [
    (Risk.BURNED_IN_ANNOTATION, {"BurnedInAnnotation": "YES"}),
    (Risk.SECONDARY_CAPTURE, {"SOPClassUID": SecondaryCaptureImageStorage}),
    (Risk.SECONDARY_CAPTURE, {"SOPClassUID": MultiFrameTrueColorSecondaryCaptureImageStorage}),
    (Risk.SECONDARY_CAPTURE, {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}),
    (Risk.ULTRASOUND, {"SOPClassUID": UltrasoundImageStorage}),
    (Risk.ULTRASOUND, {"SOPClassUID": UltrasoundMultiFrameImageStorage}),
    (Risk.ULTRASOUND, {"Modality": "US"}),
    (Risk.VISIBLE_LIGHT, {"SOPClassUID": VLPhotographicImageStorage}),
    (Risk.VISIBLE_LIGHT, {"Modality": "XC"}),
    (Risk.VIDEO, {"SOPClassUID": VideoEndoscopicImageStorage}),
    (Risk.SCANNED_DOCUMENT, {"ConversionType": "SD"}),
    (Risk.SCANNED_DOCUMENT, {"Modality": "DOC"}),
    (Risk.ENCAPSULATED_DOCUMENT, {"SOPClassUID": EncapsulatedPDFStorage}),
    (Risk.ENCAPSULATED_DOCUMENT, {"SOPClassUID": EncapsulatedCDAStorage}),
    (Risk.ENCAPSULATED_DOCUMENT, {"SOPClassUID": EncapsulatedSTLStorage}),
    (Risk.ENCAPSULATED_DOCUMENT, {"EncapsulatedDocument": b"%PDF"}),
    (Risk.SLIDE_LABEL, {"SpecimenLabelInImage": "YES"}),
    (Risk.SLIDE_LABEL, {**SLIDE, "ImageType": ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]}),
    (Risk.RECOGNIZABLE_FACE, {"BodyPartExamined": "HEAD"}),
    (Risk.RECOGNIZABLE_FACE, {"BodyPartExamined": "BRAIN", "Modality": "MR"}),
    (Risk.RECOGNIZABLE_FACE, {"RecognizableVisualFeatures": "YES"}),
]
ATTESTING = {Risk.RECOGNIZABLE_FACE: "RecognizableVisualFeatures"}


def image(**values: Any) -> Dataset:
    data_set = opened(bundled_file("CT_small.dcm"))
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    return data_set


def risks_of(data_set: Dataset) -> dict[Risk, bool]:
    return assess_risks(read_header(BytesSource(encoded(data_set))))


def under(policy: Policy, risk: Risk, data_set: Dataset) -> Deidentified:
    profile = load_profile("basic")
    policies = {**dict.fromkeys(Risk, Policy.RELEASE), risk: policy}
    deidentifier = Deidentifier(profile.model_copy(update={"risks": policies}), Pseudonyms(KEY))
    return deidentifier.deidentify(read_header(BytesSource(encoded(data_set))))


@pytest.mark.parametrize(("risk", "values"), BEARERS)
def test_should_follow_the_policy_for_a_risk(risk: Risk, values: dict[str, Any]) -> None:
    data_set = image(**values)
    assert risks_of(data_set)[risk] is False
    assert risk.value in under(Policy.RELEASE, risk, data_set).report.risks
    for policy in (Policy.QUARANTINE, Policy.RELEASE_WHEN_ATTESTED):
        with pytest.raises(RejectedError, match=f"^{risk.code}$"):
            under(policy, risk, data_set)


@pytest.mark.parametrize(("risk", "values"), [bearer for bearer in BEARERS if "YES" not in bearer[1].values()])
def test_should_release_when_the_source_attests_and_the_policy_says_so(risk: Risk, values: dict[str, Any]) -> None:
    attested = image(**values, **{ATTESTING.get(risk, "BurnedInAnnotation"): "NO"})
    assert risks_of(attested)[risk] is True
    assert risk.value in under(Policy.RELEASE_WHEN_ATTESTED, risk, attested).report.risks
    with pytest.raises(RejectedError, match=f"^{risk.code}$"):
        under(Policy.QUARANTINE, risk, attested)


def test_should_find_no_risk_in_an_ordinary_image() -> None:
    assert risks_of(image(SOPClassUID=CTImageStorage, BodyPartExamined="CHEST")) == {}


@pytest.mark.parametrize("syntax", [MPEG4HP41, HEVCMP51])
def test_should_know_a_video_by_its_transfer_syntax(syntax: UID) -> None:
    content = bundled_file("JPEG2000.dcm")
    old = opened(content).file_meta.TransferSyntaxUID.encode()
    new = syntax.encode()
    padded = [uid + b"\0" * (len(uid) % 2) for uid in (old, new)]
    lengths = [len(uid).to_bytes(2, "little") for uid in padded]
    start, length = 144, int.from_bytes(content[140:144], "little") + len(padded[1]) - len(padded[0])
    meta, data_set = content[:340], content[340:]
    meta = meta.replace(b"UI" + lengths[0] + padded[0], b"UI" + lengths[1] + padded[1])
    meta = meta[:140] + length.to_bytes(4, "little") + meta[start:]
    assert Risk.VIDEO in assess_risks(read_header(BytesSource(meta + data_set)))


def test_should_quarantine_an_overlay_inside_the_pixels() -> None:
    data_set = image()
    data_set.add_new(0x60000010, "US", 128)
    data_set.add_new(0x60000100, "US", 16)
    data_set.add_new(0x60000102, "US", 12)
    assert risks_of(data_set) == {Risk.BURNED_IN_ANNOTATION: False}
    data_set.add_new(0x60003000, "OW", bytes(2048))
    assert risks_of(data_set) == {}


@pytest.mark.parametrize("profile_name", ["basic", "research"])
def test_should_record_a_face_and_quarantine_the_rest_by_default(profile_name: str) -> None:
    deidentifier = Deidentifier(load_profile(profile_name), Pseudonyms(KEY))

    def verdict(data_set: Dataset) -> tuple[str, ...]:
        try:
            return deidentifier.deidentify(read_header(BytesSource(encoded(data_set)))).report.risks
        except RejectedError as error:
            return tuple(reason.code for reason in error.findings)

    assert verdict(image(BodyPartExamined="HEAD")) == ("recognizable-face",)
    assert verdict(image(Modality="US", ConversionType="SD")) == ("RISK_ULTRASOUND", "RISK_SCANNED_DOCUMENT")
    assert verdict(image(Modality="US", BurnedInAnnotation="NO")) == ("ultrasound",)
    assert verdict(image(EncapsulatedDocument=b"%PDF", BurnedInAnnotation="NO")) == ("RISK_ENCAPSULATED_DOCUMENT",)
    assert verdict(image(BurnedInAnnotation="YES")) == ("RISK_BURNED_IN_ANNOTATION",)
