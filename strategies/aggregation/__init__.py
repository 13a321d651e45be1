"""What becomes of the replies of a round: checks, aggregates, weights, server optimisers."""
