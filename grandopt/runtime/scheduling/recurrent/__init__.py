"""Recurrent agents: each stream of calls with a state of its own, in the batches of all."""
