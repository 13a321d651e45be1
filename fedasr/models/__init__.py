"""Model families behind one interface."""
