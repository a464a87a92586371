"""`python -m synclip_core.cli`: the same as `synclip`."""

import sys

from . import main

sys.exit(main())
