"""Graphs of agents and functions that answer one request together."""
