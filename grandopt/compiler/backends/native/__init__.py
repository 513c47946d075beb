"""Agents compiled to C: exported program → form → passes → layout → C text → shared object.

`backend.py` reads as the list of stages.
"""
