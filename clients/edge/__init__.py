"""An edge device: a folder of speech, and what it must remember between two starts."""
