"""`python -m train.move_pack`: an AudioPack for another checkpoint. It is train/dubbing/move_pack.py."""

import sys

from train.engine.program import program

main = program("train.dubbing.move_pack", "move_pack")

if __name__ == "__main__":
    sys.exit(main())
