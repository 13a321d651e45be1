"""What runs leave: a run folder read back, tables, figures and pages."""
