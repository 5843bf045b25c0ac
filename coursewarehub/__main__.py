"""`python -m coursewarehub` is the command `coursewarehub`.

Runs in: CLI.
"""

import sys

from coursewarehub.cli import main

if __name__ == "__main__":
    sys.exit(main())
