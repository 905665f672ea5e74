"""Tests of the synthesized templates."""
