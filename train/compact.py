"""`python -m train.compact`: shards at a fifth of the size. It is train/prepare/compact.py."""

import sys

from train.engine.program import program

main = program("train.prepare.compact", "compact")

if __name__ == "__main__":
    sys.exit(main())
