"""What `pyproject.toml` promises of the packages that grandopt needs."""
