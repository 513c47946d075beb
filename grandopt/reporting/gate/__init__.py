"""The result of the regression gate (as JSON, words, JUnit XML, Markdown), and its baselines."""
