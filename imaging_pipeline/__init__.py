"""The deployed pipeline: what exists in AWS, and how it is wired."""
