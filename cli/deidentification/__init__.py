"""De-identification of a folder, dry runs, and explanations of decisions."""
