"""Tests of reading, metadata and compliance."""
