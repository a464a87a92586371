"""From vocal-motion tokens to text."""
