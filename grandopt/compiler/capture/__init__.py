"""Checkpoint to program: tracing and `torch.export`, each checked on inputs it was not made with."""
