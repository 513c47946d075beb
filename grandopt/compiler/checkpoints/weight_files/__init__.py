"""Files of weights: torch.save, safetensors, pickles, and what builds the network of a state dict."""
