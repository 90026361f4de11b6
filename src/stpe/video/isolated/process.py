"""One decoder process: started, asked, and told of when it dies."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Sequence

from stpe.errors import SourceError, SourceLimitError, StpeError, UsageError
from stpe.video.isolated.wire import Block, Message, receive, send
from stpe.video.temporary import TemporaryFolder, copying

#: All that the process sees of this one's environment.
_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "LD_PRELOAD")
#: It decodes; what numpy brings for linear algebra would only hold threads and memory.
_QUIET = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_ERRORS = {kind.__name__: kind for kind in (SourceError, SourceLimitError, UsageError)}


class DecoderDiedError(SourceError):
    """The decoder's process was killed by what it decoded, or took too long over it."""


class NoDecoderError(StpeError):
    """The machine has no room for another process."""

    http_status = 503


class DecoderProcess:
    """A process that decodes what it is asked to, one thing at a time. Not thread-safe."""

    def __init__(self) -> None:
        """Start it. Raises NoDecoderError, and SourceError where there is no room for its
        temporary files."""
        with copying():
            folder = TemporaryFolder()
        ours, theirs = socket.socketpair()
        environment = {
            **{name: os.environ[name] for name in _VARIABLES if name in os.environ},
            **_QUIET,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "TMPDIR": str(folder.path),
        }
        command = [sys.executable, "-P", "-m", "stpe.video.isolated.child", str(theirs.fileno())]
        try:
            with theirs:
                self._process = subprocess.Popen(
                    command,
                    env=environment,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=2,  # what a library prints must not land in our caller's results
                )
        except OSError as error:
            ours.close()
            folder.close()
            raise NoDecoderError(
                f"no decoder process can be started ({error.strerror or error}); try again when "
                "the machine has memory and processes left"
            ) from error
        self._connection = ours
        self._end = weakref.finalize(self, _end, self._process, ours, folder)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._end.alive and self._process.poll() is None

    def send(self, message: Message, blocks: Sequence[Block] = ()) -> None:
        """Ask. Raises DecoderDiedError."""
        try:
            self._connection.settimeout(None)
            send(self._connection, message, blocks)
        except OSError:
            raise self._death() from None

    def receive(self, within_s: float) -> tuple[Message, list[memoryview]]:
        """Its next message.

        Raises:
            DecoderDiedError: it died, or said nothing for `within_s` seconds and was killed.
            SourceError, SourceLimitError, UsageError: what decoding raised there.
        """
        try:
            message, blocks = receive(self._connection, within_s)
        except TimeoutError:
            self.kill()
            raise DecoderDiedError(
                f"the decoder did not come to an end within {within_s:g} s; check the file or "
                "write it again with other software"
            ) from None
        except (EOFError, OSError, ValueError):
            raise self._death() from None
        if message.get("kind") == "error":
            raise _ERRORS.get(message["name"], SourceError)(message["text"])
        return message, blocks

    def ask(
        self, message: Message, within_s: float, blocks: Sequence[Block] = ()
    ) -> tuple[Message, list[memoryview]]:
        """Ask and wait for the answer. Raises as `receive`."""
        self.send(message, blocks)
        return self.receive(within_s)

    def _death(self) -> DecoderDiedError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        code = self._process.poll()
        self.kill()
        how = f"exit code {code}" if code is None or code >= 0 else _signal(-code)
        killed = " (out of memory?)" if code == -signal.SIGKILL else ""
        return DecoderDiedError(
            f"the decoder died of it ({how}{killed}); check the file or write it again with other "
            "software"
        )

    def kill(self) -> None:
        """End it, whatever it does, and remove its temporary files."""
        self._end()


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _end(
    process: subprocess.Popen[bytes], connection: socket.socket, folder: TemporaryFolder
) -> None:
    connection.close()
    process.kill()
    process.wait()
    folder.close()
