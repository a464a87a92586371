"""`python -m synclip_core.cli`: the same as `synclip`."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
