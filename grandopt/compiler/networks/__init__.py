"""The reference agents: eight networks of a layered trading system, with seeded weights."""
