"""Measuring artifacts in processes of their own: raw samples from there, and figures derived from them here.

A job has its parts in three places under one name: `cold` is what callers use, `wire.cold` what is said to
the worker process, and `worker.cold` what it does.
"""
