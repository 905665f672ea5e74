"""The command `imaging-pipeline`: what people run."""

PROGRAM = "imaging-pipeline"
VERSION = "0.1.0"
"""Of the distribution `medical-imaging-pipeline`."""
