"""The serving suite: the engine beside other ways of serving the same agent, and beside what was promised."""
