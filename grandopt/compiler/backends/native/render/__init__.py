"""From a laid-out graph to C text, one file per kind of kernel."""
