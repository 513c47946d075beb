"""TorchScript archives as what they are: one graph of operators, read here and run step by step."""
