"""Losses by which a student learns what a teacher says."""
