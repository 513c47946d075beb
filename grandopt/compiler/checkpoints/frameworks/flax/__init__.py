"""Agents written by JAX programs with Flax."""
