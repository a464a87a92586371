"""What the model hears with: front ends and the adapter's input."""
