"""ATen operators as ops of the form, one file per family."""
