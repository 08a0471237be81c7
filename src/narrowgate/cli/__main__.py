"""`python -m narrowgate.cli`: the program without its script, as a gate in the background is started."""

import sys

from narrowgate.cli import main

if __name__ == "__main__":
    sys.exit(main())
