"""Checkpoints of Sample Factory, with the settings of their runs."""
