"""From CTC posteriors to tokens: greedy, prefix beam search, and the best of a closed vocabulary."""
