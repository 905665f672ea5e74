"""Reading, metadata and compliance of DICOM objects. Knows no AWS."""
