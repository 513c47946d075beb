"""Engines that are only measured: their models, written by us, against the original."""
