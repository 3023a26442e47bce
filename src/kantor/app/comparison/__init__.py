"""Runs beside each other: what they cost, what they reached, and what may be concluded."""
