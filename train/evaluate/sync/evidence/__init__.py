"""What the timeline knows of a checkpoint, fitted."""
