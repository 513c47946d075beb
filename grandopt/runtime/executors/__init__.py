"""One executor per engine, and what they have in common: a manifest and its payload can be called."""
