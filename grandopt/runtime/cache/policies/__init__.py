"""Which entry leaves a full level: a contract and its members."""
