"""What turns finished runs into the tables and figures of docs/results."""
