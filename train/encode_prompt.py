"""`python -m train.encode_prompt`: the text of all dubbing samples. It is train/dubbing/wan/encode_prompt.py."""

import sys

from train.engine.program import program

main = program("train.dubbing.wan.encode_prompt", "encode_prompt")

if __name__ == "__main__":
    sys.exit(main())
