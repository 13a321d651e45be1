"""What the server does: selection, aggregation, the Flower ServerApp."""
