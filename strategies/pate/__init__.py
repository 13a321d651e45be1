"""The server as a PATE aggregator: clients are teachers, their noisy votes label public speech, a student learns it."""
