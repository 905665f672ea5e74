"""Review of a synthesized stage, one page: `python -m imaging_pipeline.operations.review`, which `make synth` runs.

Everything is read from the assembly alone.
"""
