"""`python -m train.fit_linear_vae`: a toy video code: one matrix. It is train/dubbing/wan/fit_linear_vae.py."""

import sys

from train.engine.program import program

main = program("train.dubbing.wan.fit_linear_vae", "fit_linear_vae")

if __name__ == "__main__":
    sys.exit(main())
