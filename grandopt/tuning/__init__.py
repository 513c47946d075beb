"""Search over engines, precisions and threads."""
