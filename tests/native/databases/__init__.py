"""PyTorch's own databases of modules and operators as small networks for the native engine."""
