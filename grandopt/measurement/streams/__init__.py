"""Request streams that caches are measured with."""
