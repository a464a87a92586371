"""Lag, timeline, verdict and repair."""
