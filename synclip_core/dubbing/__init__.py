"""Dubbing a video of any length: whose face, which stretches, crops out, crops back. Who paints them is given."""
