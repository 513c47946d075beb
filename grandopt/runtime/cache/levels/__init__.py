"""The places where answers are kept, from the nearest to the farthest."""
