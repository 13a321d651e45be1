"""Streaming aggregation and server optimisers."""
