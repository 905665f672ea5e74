"""Compliance checks of a header against DICOM PS3.3, PS3.5 and PS3.6."""
