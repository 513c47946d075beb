"""Streams: a source of observations in, their answers out, in order and within a window."""
