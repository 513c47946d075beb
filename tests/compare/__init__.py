"""The regression gate: its statistics, its operands, what it writes, and how often it is wrong."""
