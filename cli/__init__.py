"""The command `imaging-pipeline`: what people run."""
