"""Clients of AWS services: one factory, one retry policy."""
