"""A folder of artifacts, and which of them are served."""
