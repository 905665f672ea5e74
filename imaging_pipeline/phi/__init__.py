"""Constructs of the PHI zone."""
