"""Program to program. Each pass is checked before and after (`check.py`)."""
