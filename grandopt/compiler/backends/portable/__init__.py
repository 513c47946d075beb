"""A network as elementary layers with constant weights: what engines without a reader for torch are given.

`translate` needs torch and makes a `Graph` of an exported program; everything else needs NumPy alone, because
it is imported in the environment of the engine (see `workflows.benchmark.graph_worker`).
"""
