"""What people open: reports, comparisons, releases with their card."""
