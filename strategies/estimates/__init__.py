"""Estimates of the error rate on the devices' own speech, without their transcripts."""
