"""Tests of the deployed pipeline on the embedded emulator."""
