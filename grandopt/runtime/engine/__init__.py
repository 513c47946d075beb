"""Agents served inside a Python process: the only wiring of the runtime parts, by profile."""
