"""Encoders: from subsampled frames to the frames that a head reads, one family a module."""
