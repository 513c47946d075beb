"""Is a candidate still the same agent? Compared with the original in float64."""
