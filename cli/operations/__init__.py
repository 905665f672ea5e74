"""What operators do to a deployed stage."""
