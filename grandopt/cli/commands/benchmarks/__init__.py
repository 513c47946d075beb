"""The suites of `grandopt benchmark` that are no comparison of engines."""
