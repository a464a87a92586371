"""Attribute heads on frozen tokens: where labels come from, features on disk, fitting, figures."""
