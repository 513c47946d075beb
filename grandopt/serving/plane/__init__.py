"""Everything that the protocol can ask, without a transport."""
