"""`python -m train.finetune_dubbing`: an AudioPack for a Wan VACE model. It is train/dubbing/finetune.py."""

import sys

from train.engine.program import program

main = program("train.dubbing.finetune", "finetune_dubbing")

if __name__ == "__main__":
    sys.exit(main())
