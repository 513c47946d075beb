"""Rings of shared memory: an agent asked by a process on the same machine, in microseconds."""
