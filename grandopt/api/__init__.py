"""The Python side: `grandopt.optimize` and `grandopt.cached`."""
