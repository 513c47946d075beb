"""`compare` and `baseline`: the regression gate. Artifacts are measured again; reports are read."""
