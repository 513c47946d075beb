"""Graph to graph, each in its own file; `backend.py` lists them in order."""
