"""Checks of a deployed stage, by what they look at."""
