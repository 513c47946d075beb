"""One file per engine: a program becomes the payload of an artifact."""
