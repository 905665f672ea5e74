"""Names and models that the infrastructure and the handlers share. Imports pydantic and the standard library alone."""
