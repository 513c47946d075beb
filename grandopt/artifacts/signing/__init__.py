"""Signatures of artifacts and builds: the keys, what is signed, and who asks for it."""
