"""What the parent and a worker process say to each other; all that their two sides have in common."""
