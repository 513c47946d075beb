"""The processes that serve and are measured, each with one way of serving; also in environments of others."""
