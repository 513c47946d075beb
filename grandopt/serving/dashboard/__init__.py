"""Pages of a server for people and for Prometheus."""
