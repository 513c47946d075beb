"""TorchScript archives: their code is read before torch compiles it."""
