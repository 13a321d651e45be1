"""From encoded speech to tokens: frame by frame or token by token, greedy or with a beam, free or of a list."""
