"""`python -m train.export`: a run as a checkpoint to ship. It is train/pretrain/export.py."""

import sys

from train.engine.program import program

main = program("train.pretrain.export", "export")

if __name__ == "__main__":
    sys.exit(main())
