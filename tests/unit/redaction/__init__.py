"""What must not leave the PHI zone, provoked on purpose."""
