"""Checkpoints of training frameworks: recognised by their keys, the policy rebuilt from names and shapes."""
