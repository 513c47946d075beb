"""The worker's side of measuring: what runs in a process of its own and answers the parent's requests.

Nothing here imports what is on the parent's side. The two meet in `wire`, and in what both are told: the
settings, the ring and the statistics.
"""
