"""`benchmark`: candidates, and engines that are only measured, beside the original; nothing is shipped."""
