"""Temporary files for bodies and answers that are too long for memory."""

import contextlib
import logging
import tempfile

from torc_server.errors import ApiError

log = logging.getLogger("torc_server")

SPOOL_MEMORY = 1 << 20  # bytes that are held in memory before they go to a file


class Spool(tempfile.SpooledTemporaryFile):
    """A file in memory, from `memory` bytes on a file without a name in the folder for temporary files (TMPDIR).

    write() and seek() close it and raise ApiError 507 when that folder has no room or is missing.
    """

    def __init__(self, memory: int = SPOOL_MEMORY):
        super().__init__(memory)

    def write(self, s: bytes) -> int:  # ty: ignore[incompatible-method-override]  # the base has one for str too
        with self._refusing():
            return super().write(s)

    def seek(self, offset: int, whence: int = 0) -> int:
        with self._refusing():
            return super().seek(offset, whence)

    def rewind(self) -> int:
        """Go back to the start and return the size in bytes."""
        size = self.seek(0, 2)
        self.seek(0)
        return size

    @contextlib.contextmanager
    def _refusing(self):
        try:
            yield
        except OSError as error:
            log.error("cannot write to the folder for temporary files, %s: %s", tempfile.tempdir or "TMPDIR", error)
            with contextlib.suppress(OSError):  # close() writes what is still buffered, and fails for the same reason
                self.close()
            raise ApiError(507, "The server has no room to store this request or its answer for a while") from error
