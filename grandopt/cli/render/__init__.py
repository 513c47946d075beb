"""What the commands show, as Rich tables and lines."""
