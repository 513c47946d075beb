"""Worker processes as their parent holds them: one, a pool, and one that is called like an executor."""
