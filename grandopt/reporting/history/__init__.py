"""The history of runs: one small SQLite file, what changed in it, and its exports."""
