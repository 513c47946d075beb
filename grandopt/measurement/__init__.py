"""How fast, how steady, how large: raw samples from fresh processes, statistics derived."""
