"""Tests without network."""
