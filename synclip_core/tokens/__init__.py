"""Token streams: in memory, in files, and made as the sound comes in."""
