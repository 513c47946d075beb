"""What earlier runs found out, kept in the store: programs, failed builds, reference answers."""
