"""System shared memory of clients: regions that they have registered, read and written by copying."""
