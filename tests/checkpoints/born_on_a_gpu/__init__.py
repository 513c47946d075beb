"""Agents saved on a GPU, with what they answered there."""
