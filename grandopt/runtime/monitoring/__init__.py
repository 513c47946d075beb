"""Watches what serves: figures, drift of the inputs, alerts, recommendations, history and exposition."""
