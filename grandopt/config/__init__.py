"""What is to be done: models, named profiles, and the one place that resolves them."""
