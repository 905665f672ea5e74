"""Quotas of the account: what is left of them, and how many objects an hour they allow."""
