"""Constructs of the research zone."""
