"""Rules as data: DICOM PS3.15 Table E.1-1, attribute types, options, and what they come to."""
