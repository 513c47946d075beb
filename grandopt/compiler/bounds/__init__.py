"""What a build of reduced precision can differ by from its original, proven and not sampled."""
