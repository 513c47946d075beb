"""One configuration of the serving engine, measured in a process of its own."""
