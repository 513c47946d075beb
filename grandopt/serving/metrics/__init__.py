"""Figures of a server as Prometheus reads them: Triton's names, and grandopt's own."""
