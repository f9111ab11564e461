"""`python -m auditpipe.cli`: the command, whatever is on PATH. The local stack starts its own processes so."""

import sys

from auditpipe.cli.entry import main

sys.exit(main())
