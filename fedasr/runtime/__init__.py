"""Where clients run: a Flower grid in this process, checkpoints."""
