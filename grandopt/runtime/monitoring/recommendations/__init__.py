"""What could be changed, by what was measured: a function for each case, with its evidence or silent."""
