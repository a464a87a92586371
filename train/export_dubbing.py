"""`python -m train.export_dubbing`: a dubbing run as files for ComfyUI. It is train/dubbing/export_models.py."""

import sys

from train.engine.program import program

main = program("train.dubbing.export_models", "export_dubbing")

if __name__ == "__main__":
    sys.exit(main())
