"""Fairer objectives than the mean loss: what a client's update counts for depends on its loss."""
