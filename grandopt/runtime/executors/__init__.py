"""One executor per engine: a manifest and its payload become something that can be called."""
