"""Networks in memory, and what stands around them in a file: examples, wrappers, arguments."""
