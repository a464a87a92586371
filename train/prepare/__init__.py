"""`python -m train.prepare`: videos become shards of face crops. The program is videos.py."""

from train.engine.program import program as _program

main = _program("train.prepare.videos", "prepare")
