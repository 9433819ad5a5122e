"""Training on image-level labels: task, loop, checkpoints and the record of a run."""
