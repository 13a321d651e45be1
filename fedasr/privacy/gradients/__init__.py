"""Per-sample gradient norms and clipped sums, fast: from one backward pass, for recurrent layers too."""
