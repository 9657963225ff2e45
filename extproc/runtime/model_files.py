"""Model files: JSON that a detector's weights are read from.

What lives here: reading one, bounded, with an error that says what is wrong. What must not: what is in it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

FILE_BYTES: Final = 16 << 20


class ModelFileError(ValueError):
    """A model file cannot be used; the message says why."""


class ModelFile:
    """A model file, parsed when first asked for its data."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ModelFileError: it cannot be read, or is too large.
        """
        self.path: Final = path
        try:
            with path.open("rb") as file:
                self._raw: Final = file.read(FILE_BYTES + 1)
        except OSError as error:
            raise ModelFileError(f"{path}: {error.strerror or 'cannot be read'}") from None
        if len(self._raw) > FILE_BYTES:
            raise ModelFileError(f"{path}: larger than {FILE_BYTES} bytes")
        self.digest: Final = hashlib.sha256(self._raw).hexdigest()

    def data(self) -> dict[str, Any]:
        """Parse it.

        Raises:
            ModelFileError: it is not a JSON object.
        """
        try:
            data = json.loads(self._raw)
        except (ValueError, RecursionError) as error:
            raise ModelFileError(f"{self.path}: not JSON: {error}") from None
        if not isinstance(data, dict):
            raise ModelFileError(f"{self.path}: must be a JSON object")
        return data
