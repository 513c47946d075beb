"""What a serving engine can be set to, and the search for the best of it."""
