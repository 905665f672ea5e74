"""Verifies a deployed stage by objects of its own: `python -m acceptance.verification --stage dev`."""
