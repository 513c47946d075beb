"""Built agents on disk: the versioned manifest, atomic writing, and the content-addressed store."""
