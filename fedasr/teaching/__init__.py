"""Teachers: finished runs whose models say what is heard in speech that nobody has transcribed."""
