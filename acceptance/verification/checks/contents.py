"""Checks of the results' contents: pixels as they were, and nobody named."""

from __future__ import annotations

import hashlib
from functools import partial
from io import BytesIO

import pydicom

from acceptance.verification.check import Check, Judgement, alike, check, same
from acceptance.verification.objects import PATIENT_NAME, RESULTS, Sample, patient_id, pixels
from acceptance.verification.run import Run


def _pixels(sample: Sample, run: Run) -> Judgement:
    """Compare the checksums of the pixels that were uploaded and of those in the result."""
    source = hashlib.sha256(pixels(run.id, sample)).hexdigest()
    result = hashlib.sha256(pydicom.dcmread(BytesIO(run.result(sample))).PixelData).hexdigest()
    return Judgement(f"SHA-256 {source[:8]}", f"SHA-256 {result[:8]}", source == result)


PIXELS = tuple(Check(f"pixels: {sample}", partial(_pixels, sample)) for sample in RESULTS)


@check("copy inside S3: in parts, one checksum", emulator="keeps a checksum of the parts' checksums")
def copied_in_parts(run: Run) -> Judgement:
    """Look whether the large result was copied as one that is too large for a single request."""
    head = run.results.head_object(
        Bucket=run.processed_bucket, Key=run.output_key(Sample.LARGE), ChecksumMode="ENABLED"
    )
    parts = "in parts" if "-" in head["ETag"] else "in one piece"
    kind = head.get("ChecksumType", "none") if "ChecksumCRC64NVME" in head else "none"
    return same("in parts, CRC-64/NVME FULL_OBJECT", f"{parts}, CRC-64/NVME {kind}")


@check("results: nobody's name or id")
def names_nobody(run: Run) -> Judgement:
    """Search the results for the invented patient."""
    found = {}
    for sample in RESULTS:
        result = run.result(sample)
        said = [text for text in (PATIENT_NAME, patient_id(run.id)) if text.encode() in result]
        found[str(sample)] = "named" if said else pydicom.dcmread(BytesIO(result)).get("PatientIdentityRemoved", "-")
    return alike("YES", found)


CHECKS = (*PIXELS, copied_in_parts, names_nobody)
