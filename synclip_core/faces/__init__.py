"""Find, follow, crop, mask and paste faces."""
