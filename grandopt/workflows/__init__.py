"""The jobs, each readable as its list of steps."""
