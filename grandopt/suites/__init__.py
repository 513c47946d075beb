"""The benchmark suites: caches, memory parts, and agents served together."""
