"""The real-time contract of an exported C library, checked of what was compiled."""
