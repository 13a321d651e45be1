"""What differential privacy asks of the server: one mechanism a module."""
