"""Settings of the stages."""
