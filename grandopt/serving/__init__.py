"""Agents behind the Open Inference Protocol: the data plane, and the transports that translate to it."""
