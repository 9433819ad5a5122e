"""`python -m lpdseg` is the command `lpdseg`."""

import sys

from lpdseg.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
