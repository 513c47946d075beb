"""From an agent's candidates to the one that ships: build in order, search, decide, write down."""
