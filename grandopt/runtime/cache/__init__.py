"""Answers kept for inputs that come back: keys, policies, four levels, and their hierarchy."""
