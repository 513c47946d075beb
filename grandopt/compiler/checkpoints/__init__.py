"""One file per checkpoint format: bytes on disk become a `Checkpoint`."""
