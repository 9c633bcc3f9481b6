"""`python -m tunnel` is `cluster-tunnel`."""

import sys

from tunnel.cli.main import main

sys.exit(main())
