"""Comparing two artifacts, over as many fresh processes as it takes to decide."""
