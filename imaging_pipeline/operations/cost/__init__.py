"""What a stage costs: for a million objects, for a month, and for what it keeps.

Counted from the synthesized templates and from `Assumptions`, and multiplied by the list prices in `prices.json`.
"""
