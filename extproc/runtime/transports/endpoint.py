"""Where a server listens: ``HOST:PORT`` or ``unix:///path``.

What lives here: reading and writing that text, making a unix path free to bind, and trying whether an endpoint can be
bound. What must not: gRPC.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

_UNIX = "unix://"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A TCP address, or a unix socket where ``path`` is set. Port 0 lets the system choose."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HOST:PORT``, ``[IPV6]:PORT`` or ``unix:///path``.

        Raises:
            ValueError: none of these.
        """
        if text.startswith(_UNIX):
            path = text.removeprefix(_UNIX)
            if not path.startswith("/") or len(path.encode()) > 100:  # sun_path ends at 108, NUL and `.N` included
                raise ValueError(f"a unix endpoint is unix:// and an absolute path of at most 100 bytes, not {text!r}")
            return cls(path=path)
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
        if not colon or not host or not port.isascii() or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"an endpoint is HOST:PORT or unix:///path, not {text!r}")
        if ":" in host and not text.startswith("["):
            raise ValueError(f"an IPv6 address needs brackets: [{host}]:{port}")
        return cls(host=host, port=int(port))

    def __str__(self) -> str:
        if self.path:
            return f"{_UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name: who knows where it points
            return False

    def of_worker(self, index: int) -> Endpoint:
        """The endpoint of worker ``index``: the next port, or ``.N`` before the path's suffix. Worker 0 keeps this one.

        Raises:
            ValueError: no such port.
        """
        if index == 0:
            return self
        if self.path:
            path = Path(self.path)
            return replace(self, path=str(path.with_name(f"{path.stem}.{index}{path.suffix}")))
        if self.port == 0:
            return self
        if self.port + index > 65535:
            raise ValueError(f"no port {self.port + index} for worker {index}")
        return replace(self, port=self.port + index)


def clear_stale_socket(path: Path) -> None:
    """Remove a socket file that nobody listens on any more.

    Raises:
        OSError: somebody listens on it, or the path is something else than a socket.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"{path} exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(f"{path} is in use by another process")


def try_bind(endpoint: Endpoint) -> None:
    """Bind the endpoint and let it go again, for those that do not say why they cannot.

    Raises:
        OSError: it cannot be bound; ``strerror`` says why.
    """
    if endpoint.path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
            trial.bind(endpoint.path)
        Path(endpoint.path).unlink()
        return
    failed = None
    for family, kind, protocol, _, address in _addresses(endpoint):
        try:
            with socket.socket(family, kind, protocol) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that ended are no obstacle
                trial.bind(address)
        except OSError as error:
            failed = error
        else:
            return  # a name may stand for several addresses, and one will do
    if failed is not None:
        raise failed


def _addresses(endpoint: Endpoint) -> list[Any]:
    try:
        return socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError:
        raise OSError(errno.EINVAL, "not a host name") from None
