"""The run folder, figures, comparison and report."""
