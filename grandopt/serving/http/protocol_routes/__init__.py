"""The protocol's calls other than inference."""
