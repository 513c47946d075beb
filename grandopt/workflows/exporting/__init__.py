"""`export`: an artifact for hosts that are not Python; a file for each target, and what they begin with."""
