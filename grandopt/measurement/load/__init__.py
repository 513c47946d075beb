"""Requests at chosen moments, and what became of each: open and closed loops, saturation, load curves."""
