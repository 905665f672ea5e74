"""Unit tests of the local run."""
