"""Capacity: how many replicas and machines a load takes, by formula and by simulation, checked under load."""
