"""``python -m extproc`` is ``sluicegate``."""

from extproc.cli import main

raise SystemExit(main())
