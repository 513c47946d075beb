"""Agents compiled to C: exported program → form → passes → layout → C text → shared object.

`backend` reads as the list of stages. Each module here is one of them, or one notion that several need
(`form`, `dtypes`, `levels`, `memory`); what has members is a folder: `operators`, `passes`, `render`.
"""
