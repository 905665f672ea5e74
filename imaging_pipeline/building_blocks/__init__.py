"""Resources that every construct makes the same way."""
