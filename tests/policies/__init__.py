"""Policies that people deploy, as their projects ship them."""
