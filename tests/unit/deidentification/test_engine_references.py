"""A study de-identified object by object: references resolve, intervals survive, patients stay apart."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ComprehensiveSRStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    RTStructureSetStorage,
    SegmentationStorage,
)

from tests.deidentification import Result, bundled_file, deidentified, deidentifier, encoded, opened

ROOT = "1.2.826.0.1.3680043.10.7311"
STUDY, SERIES, FRAME_OF_REFERENCE = f"{ROOT}.1", f"{ROOT}.2", f"{ROOT}.3"
IMAGES = [f"{ROOT}.4.{number}" for number in range(3)]
PROFILES = pytest.mark.parametrize("profile_name", ["basic", "research"])

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def image(number: int = 0, **values: object) -> Dataset:
    data_set = opened(bundled_file("CT_small.dcm"))
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = STUDY, SERIES
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = UID(IMAGES[number])
    data_set.FrameOfReferenceUID = FRAME_OF_REFERENCE
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    return data_set


def derived(sop_class_uid: UID, modality: str) -> Dataset:
    """Return an object of the images' study, without what it refers to."""
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.SOPClassUID, data_set.SOPInstanceUID = sop_class_uid, f"{ROOT}.5.{sum(modality.encode())}"
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = STUDY, f"{data_set.SOPInstanceUID}.1"
    data_set.Modality, data_set.PatientID, data_set.PatientName = modality, "1CT1", "CompressedSamples^CT1"
    data_set.StudyDate, data_set.ContentDate, data_set.ContentTime = "20040119", "20040120", "101010"
    return data_set


def item(**values: object) -> Dataset:
    data_set = Dataset()
    for keyword, value in values.items():
        setattr(data_set, keyword, Sequence(value) if isinstance(value, list) else value)
    return data_set


def reference(uid: str) -> Dataset:
    return item(ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID=uid)


def segmentation() -> Dataset:
    data_set = derived(SegmentationStorage, "SEG")
    data_set.FrameOfReferenceUID = FRAME_OF_REFERENCE
    data_set.ReferencedSeriesSequence = [
        item(SeriesInstanceUID=SERIES, ReferencedInstanceSequence=[reference(uid) for uid in IMAGES])
    ]
    frames = [item(DerivationImageSequence=[item(SourceImageSequence=[reference(uid)])]) for uid in IMAGES]
    data_set.PerFrameFunctionalGroupsSequence = frames
    data_set.SOPInstanceUIDOfConcatenationSource = IMAGES[0]
    return data_set


def structured_report() -> Dataset:
    data_set = derived(ComprehensiveSRStorage, "SR")
    series = item(SeriesInstanceUID=SERIES, ReferencedSOPSequence=[reference(uid) for uid in IMAGES])
    data_set.CurrentRequestedProcedureEvidenceSequence = [
        item(StudyInstanceUID=STUDY, ReferencedSeriesSequence=[series])
    ]
    concept = item(CodeValue="121112", CodingSchemeDesignator="DCM", CodeMeaning="Source of Measurement")
    images = [
        item(
            RelationshipType="CONTAINS",
            ValueType="IMAGE",
            ConceptNameCodeSequence=[concept],
            ReferencedSOPSequence=[reference(uid)],
        )
        for uid in IMAGES
    ]
    uid_item = item(RelationshipType="CONTAINS", ValueType="UIDREF", ConceptNameCodeSequence=[concept], UID=SERIES)
    data_set.ValueType = "CONTAINER"
    data_set.ContentSequence = [*images, uid_item]
    return data_set


def structure_set() -> Dataset:
    data_set = derived(RTStructureSetStorage, "RTSTRUCT")
    data_set.StructureSetLabel = "HEART"
    series = item(SeriesInstanceUID=SERIES, ContourImageSequence=[reference(uid) for uid in IMAGES])
    study = item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=STUDY,
        RTReferencedSeriesSequence=[series],
    )
    data_set.ReferencedFrameOfReferenceSequence = [
        item(FrameOfReferenceUID=FRAME_OF_REFERENCE, RTReferencedStudySequence=[study])
    ]
    data_set.StructureSetROISequence = [
        item(ROINumber=1, ReferencedFrameOfReferenceUID=FRAME_OF_REFERENCE, ROIName="Heart", ROIGenerationAlgorithm="")
    ]
    return data_set


def presentation_state() -> Dataset:
    data_set = derived(GrayscaleSoftcopyPresentationStateStorage, "PR")
    data_set.ContentLabel = "ARROWS"
    data_set.ReferencedSeriesSequence = [
        item(SeriesInstanceUID=SERIES, ReferencedImageSequence=[reference(uid) for uid in IMAGES])
    ]
    text = item(UnformattedTextValue="Mass seen by Dr. Miller", AnchorPointVisibility="N")
    data_set.GraphicAnnotationSequence = [
        item(GraphicLayer="LAYER", ReferencedImageSequence=[reference(IMAGES[1])], TextObjectSequence=[text])
    ]
    return data_set


def uids_in(data_set: Dataset, keyword: str) -> list[str]:
    return [str(element.value) for element in data_set.iterall() if element.keyword == keyword]


@PROFILES
@pytest.mark.parametrize("make", [segmentation, structured_report, structure_set, presentation_state])
def test_should_resolve_references_to_images_of_the_study(make: Callable[[], Dataset], profile_name: str) -> None:
    source = make()
    images = [deidentified(encoded(image(number)), profile_name).data_set for number in range(3)]
    after = deidentified(encoded(source), profile_name).data_set
    moved = dict(zip(IMAGES, [str(data_set.SOPInstanceUID) for data_set in images], strict=True))
    moved |= {STUDY: images[0].StudyInstanceUID, SERIES: images[0].SeriesInstanceUID}
    assert not moved.keys() & set(moved.values())
    for keyword in ("ReferencedSOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "UID"):
        before = [uid for uid in uids_in(source, keyword) if uid in moved]
        assert [uid for uid in uids_in(after, keyword) if uid in moved.values()] == [moved[uid] for uid in before]
    assert len(uids_in(after, "ReferencedSOPInstanceUID")) == len(uids_in(source, "ReferencedSOPInstanceUID")) >= 3
    frames_of_reference = {
        *uids_in(after, "FrameOfReferenceUID"),
        *uids_in(after, "ReferencedFrameOfReferenceUID"),
    }
    assert frames_of_reference <= {images[0].FrameOfReferenceUID}
    assert after.PatientID == images[0].PatientID
    assert ROOT.encode() not in encoded(after)


def test_should_map_instance_uids_that_the_table_does_not_name() -> None:
    after = deidentified(encoded(segmentation())).data_set
    assert after.SOPInstanceUIDOfConcatenationSource == deidentified(encoded(image(0))).data_set.SOPInstanceUID


def test_should_leave_well_known_uids_alone() -> None:
    source = image(FrameOfReferenceUID="1.2.840.10008.1.4.1.10")
    source.ReferencedFrameOfReferenceUID = "1.2.840.10008.1.4.1.10"
    after = deidentified(encoded(source)).data_set
    assert after.FrameOfReferenceUID == after.ReferencedFrameOfReferenceUID == "1.2.840.10008.1.4.1.10"
    assert after.SOPClassUID == CTImageStorage


def test_should_keep_the_days_between_two_studies_of_a_patient() -> None:
    first = image(StudyDate="20040119", AcquisitionDateTime="20040119235959.5+0100")
    second = image(StudyDate="20080229", StudyInstanceUID=f"{STUDY}.9", AcquisitionDateTime="20080301")
    after = [deidentified(encoded(data_set)).data_set for data_set in (first, second)]
    days = [datetime.datetime.strptime(data_set.StudyDate, "%Y%m%d") for data_set in after]  # noqa: DTZ007
    assert days[1] - days[0] == datetime.date(2008, 2, 29) - datetime.date(2004, 1, 19)
    assert after[0].StudyDate != "20040119"
    assert after[0].AcquisitionDateTime == f"{after[0].StudyDate}235959.5+0100"
    assert after[0].PatientID == after[1].PatientID
    assert after[0].PatientName == after[1].PatientName
    assert after[0].StudyTime == first.StudyTime


def test_should_keep_patients_of_different_issuers_apart() -> None:
    here, there, here_again = (
        deidentified(encoded(image(IssuerOfPatientID=issuer))).data_set for issuer in ("HERE", "THERE", "HERE ")
    )
    assert here.PatientID != there.PatientID
    assert here.StudyDate != there.StudyDate
    assert here.PatientID == here_again.PatientID


def test_should_make_a_patient_of_each_study_without_patient_id() -> None:
    one, same, other = (
        deidentified(encoded(image(number, PatientID="", StudyInstanceUID=study))).data_set
        for number, study in ((0, STUDY), (1, STUDY), (0, f"{STUDY}.9"))
    )
    assert one.PatientID == same.PatientID != ""
    assert one.PatientID != other.PatientID
    absent = image()
    del absent.PatientID
    assert deidentified(encoded(absent)).deidentified.output_key.startswith(f"{one.PatientID}/")


def test_should_tell_equal_accession_numbers_of_two_patients_apart() -> None:
    one, same, other = (
        deidentified(encoded(image(PatientID=patient, AccessionNumber="A77", StudyID="7"))).data_set
        for patient in ("P1", "P1", "P2")
    )
    assert one.AccessionNumber == same.AccessionNumber
    assert one.AccessionNumber != other.AccessionNumber
    assert one.StudyID != other.StudyID
    assert "A77" not in {one.AccessionNumber, other.AccessionNumber}


def test_should_answer_alike_twice_and_otherwise_under_another_key() -> None:
    content = encoded(image())
    again, rotated = deidentified(content), Result(content, deidentifier("research", bytes(32)))
    assert again.content == deidentified(content).content
    assert rotated.data_set.PatientID != again.data_set.PatientID
    assert rotated.deidentified.report.key_id != again.deidentified.report.key_id
    assert rotated.deidentified.report.key_id in "\\".join(rotated.data_set.DeidentificationMethod)


@PROFILES
def test_should_name_the_output_by_pseudonyms(profile_name: str) -> None:
    result = deidentified(encoded(image()), profile_name)
    after = result.data_set
    parts = (after.PatientID, after.StudyInstanceUID, after.SeriesInstanceUID, after.SOPInstanceUID)
    assert result.deidentified.output_key == "/".join(parts) + ".dcm"
    assert all(uid.startswith("2.25.") and UID(uid).is_valid for uid in parts[1:])
