"""Settings moved while serving, by measured effect."""
