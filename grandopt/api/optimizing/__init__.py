"""A model that is served while a faster artifact of it is made in another process."""
