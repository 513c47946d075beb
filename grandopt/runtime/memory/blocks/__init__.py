"""Where pools get their memory from: one file per kind."""
