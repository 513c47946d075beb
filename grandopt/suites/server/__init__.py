"""The server suite: `grandopt serve` over the network, beside another way of putting an agent behind HTTP."""
