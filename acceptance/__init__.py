"""Judges a stage in its account: before its deployment and after it."""
