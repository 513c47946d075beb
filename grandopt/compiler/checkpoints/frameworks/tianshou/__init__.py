"""Checkpoints of Tianshou: the networks in them, and what its policies do with these."""
