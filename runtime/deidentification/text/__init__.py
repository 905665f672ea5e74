"""Cleaning free text: the values of Clean Descriptors, and the text items of structured reports and annotations."""

from runtime.deidentification.text.cleaner import TextCleaner
from runtime.deidentification.text.dates import ShiftDate
from runtime.deidentification.text.identifiers import Identifiers, Kind, kind_of

__all__ = ["Identifiers", "Kind", "ShiftDate", "TextCleaner", "kind_of"]
