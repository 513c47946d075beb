"""From single requests to batches: the queue, the batcher, and the workers that compute."""
