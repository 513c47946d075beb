"""The jobs, each readable as its list of steps, and their rooms.

`optimize`, `tune` and `export` are jobs of one file; `gate`, `benchmark` and `reproduce` are folders. They
share `selection` (which candidate ships), `building` (processes that build and verify), `memo` (what earlier
runs found out), and here: `job` (what the steps of one run share), `open_agents`, `records`, `events`.
"""
