"""Compliance of an object with DICOM, as far as its header and the layout of its pixel data tell."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Final

from runtime.contract.objects import Finding
from runtime.dicom.checks.elements import check_elements
from runtime.dicom.checks.modules import check_file_meta, check_modules, is_directory
from runtime.dicom.checks.pixels import check_pixel_data
from runtime.dicom.findings import finding
from runtime.dicom.header import Header

MAXIMUM_FINDINGS: Final = 1000


def check_compliance(header: Header) -> list[Finding]:
    """Return the findings of all checks; after `MAXIMUM_FINDINGS` of them, ``MORE_FINDINGS``.

    No finding carries a value. Errors come from the checks that run first, so none of them is cut off.
    """
    checks = _checks(header)
    findings = list(islice(checks, MAXIMUM_FINDINGS))
    return [*findings, finding("MORE_FINDINGS")] if next(checks, None) else findings


def _checks(header: Header) -> Iterator[Finding]:
    if is_directory(header):
        return chain([finding("DICOM_DIRECTORY")], check_elements(header))
    return chain(check_modules(header), check_pixel_data(header), check_file_meta(header), check_elements(header))
