"""The server: one process or several, what it listens on, how it stops."""
