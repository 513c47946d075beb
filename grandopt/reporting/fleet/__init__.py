"""Runs of many machines beside each other, without comparing the times of different ones."""
