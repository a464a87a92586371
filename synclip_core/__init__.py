"""SyncLipMAE: one model for lip sync, facial motion, lip reading and dubbing. Importing it loads nothing heavy."""

__version__ = "0.1.0"
