"""Where batches are computed: on the event loop's thread, on others, or in other processes."""
