"""`python -m train.offsets`: each unchecked video's own offset. It is train/prepare/offsets.py."""

import sys

from train.engine.program import program

main = program("train.prepare.offsets", "offsets")

if __name__ == "__main__":
    sys.exit(main())
