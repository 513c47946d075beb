"""Stable-Baselines3 and sb3-contrib zips, read without either and without unpickling."""
