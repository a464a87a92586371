"""`python -m train.prepare`."""

import sys

from train.prepare.videos import main

if __name__ == "__main__":
    sys.exit(main())
