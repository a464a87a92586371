"""The truth along a clip: evidence, paths of lags, stretches, headline."""
