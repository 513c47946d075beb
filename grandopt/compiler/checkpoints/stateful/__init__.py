"""Agents with a recurrent state: what is declared of it, and networks over sequences that step."""
