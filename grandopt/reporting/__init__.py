"""Reports: versioned JSON, the log, the terminal."""
