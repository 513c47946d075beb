"""The `.d3` files of d3rlpy: how they are read, their encoders, and what their algorithms decide."""
