"""Memory of a serving process: pools, garbage collection, and the watch over what grows."""
