"""Looks, before a stage is deployed, for what would keep it from being deployed or from working. Reads only."""
