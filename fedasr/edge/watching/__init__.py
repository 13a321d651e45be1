"""Watching a deployed run: what the SuperLink and the run folder say, for people, for programs and for monitoring."""
