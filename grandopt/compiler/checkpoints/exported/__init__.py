"""`.pt2` programs of `torch.export`, built from their JSON and raw tensors."""
