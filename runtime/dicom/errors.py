"""Exception for an object that can't be processed as it is."""

from __future__ import annotations


class DicomError(Exception):
    """The object itself is at fault: it is quarantined, not retried.

    Its text carries a code of `runtime.dicom.findings`, an attribute and an offset, never a value of the data set.

    Parameters
    ----------
    code
        A key of `runtime.dicom.findings.FINDINGS`.
    attribute
        Keyword or ``(gggg,eeee)`` of the attribute at fault, with the path of sequences before it.
    offset
        Byte offset of the fault in the object.
    """

    def __init__(self, code: str, *, attribute: str | None = None, offset: int | None = None) -> None:
        place = "" if attribute is None else f" in {attribute}"
        place += "" if offset is None else f" at byte {offset}"
        super().__init__(code + place)
        self.code = code
        self.attribute = attribute
        self.offset = offset
