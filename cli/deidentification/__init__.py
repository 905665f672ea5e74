"""De-identification of a folder, and what a profile does, in words."""
