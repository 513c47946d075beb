"""From bytes on disk to a built artifact: checkpoints, capture, passes, backends, build."""
