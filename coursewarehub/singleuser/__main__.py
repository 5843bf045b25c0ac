"""`python -m coursewarehub.singleuser`: the learner's server started cold, as an image's command does."""

from __future__ import annotations

import os
import sys

# jsonschema suppresses the ImportError of this optional package, whose import alone costs about a second.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


def entry() -> int:
    """Console script; exit status."""
    from coursewarehub.singleuser.main import main

    return main(dict(os.environ))


if __name__ == "__main__":
    sys.exit(entry())
