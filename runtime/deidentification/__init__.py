"""De-identification: profile, actions, pseudonyms, text, the table of DICOM PS3.15. Knows no AWS."""
