"""A device that is a box of its own: a folder of speech beside it, and what it must remember between two starts."""
