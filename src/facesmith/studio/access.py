"""Who may ask the page for anything: token or password, Host and Origin, size of uploads."""

import hmac
import secrets
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Final
from urllib.parse import parse_qs, urlsplit

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_PAUSE: Final = 1.0  # seconds between two tries of a password
_MIN_PASSWORD: Final = 10

Headers = dict[str, str]


class RefusedError(Exception):
    """A request is refused.

    Args:
        status: Of HTTP.
        reason: For people, in one line.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass
class Access:
    """What a request must show.

    Attributes:
        listen: Address the server listens on.
        port: Its port.
        names: Further names under which the page may be asked for.
        password: Asked for where other computers can reach the page; None: the token alone.
        max_upload: Largest upload in bytes.
        token: Secret of this start, in the address that is printed.
    """

    listen: str
    port: int
    names: Sequence[str] = ()
    password: str | None = None
    max_upload: int = 4_000_000_000
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    _tried: dict[str, float] = field(default_factory=dict)

    @property
    def is_local(self) -> bool:
        """Whether only this computer reaches the page."""
        return self.listen in LOOPBACK

    @property
    def cookie(self) -> str:
        """Name of the cookie; browsers do not tell ports apart."""
        return f"facesmith_{self.port}"

    def check_host(self, headers: Headers) -> None:
        """Refuse names that are not this server's: a page of elsewhere may have its name lead here.

        Args:
            headers: Of the request, names in lower case.

        Raises:
            RefusedError: The name is another's.
        """
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if name in LOOPBACK or name in self.names:
            return
        if not self.is_local and (_is_address(name) or name in _own_names()):
            return
        raise RefusedError(421, f"{name[:80] or 'this'}: is no name of this page; list it in hosts=[...]")

    def check_origin(self, headers: Headers, *, opens_page: bool) -> None:
        """Refuse what another page in the same browser asks for.

        Args:
            headers: Of the request.
            opens_page: Whether the page itself is opened, which links of elsewhere may do.

        Raises:
            RefusedError: It comes from elsewhere.
        """
        origin = headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc != headers.get("host")
        crossing = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if foreign or (crossing and not opens_page):
            raise RefusedError(403, "another page asked for this; open the page itself")

    def is_known(self, headers: Headers, query: str) -> bool:
        """Return whether a request has the token: as cookie, as bearer, or in its address where no password is asked.

        Args:
            headers: Of the request.
            query: Of its address.
        """
        offered = [headers.get("authorization", "").removeprefix("Bearer "), self._cookie_of(headers)]
        if self.password is None:
            offered += parse_qs(query).get("token", [])
        return any(hmac.compare_digest(one.encode(), self.token.encode()) for one in offered)

    def check_password(self, given: str, client: str) -> bool:
        """Return whether a password is right; tries of one client that come too fast are wrong.

        Args:
            given: By whoever wants in.
            client: The address it came from.
        """
        now, place = time.monotonic(), _place(client)
        self._tried = {one: at for one, at in self._tried.items() if now - at < _PAUSE}
        early = place in self._tried
        self._tried[place] = now
        right = hmac.compare_digest(given.encode(), (self.password or self.token).encode())
        return right and not early

    def _cookie_of(self, headers: Headers) -> str:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return ""
        return "" if found is None else found.value


def password_problem(listen: str, password: str | None) -> str | None:
    """Return why a password does not do for an address, or None.

    Args:
        listen: Address the server listens on.
        password: As given.
    """
    if listen in LOOPBACK and password is None:
        return None
    if password is None:
        return "other computers could open the page; put a password into the environment variable FACESMITH_PASSWORD"
    if len(password) < _MIN_PASSWORD:
        return f"the password in FACESMITH_PASSWORD is too short; give {_MIN_PASSWORD} letters or more"
    return None


def _place(client: str) -> str:
    """Return what tries are counted by: an address, of IPv6 the network that one computer has for itself."""
    try:
        address = ip_address(client)
    except ValueError:
        return client
    if isinstance(address, IPv4Address):
        return client
    return str(address.ipv4_mapped or ip_network((address, 64), strict=False))


def _is_address(name: str) -> bool:
    """Return whether a name is a number, which no other page's name can be made to lead to."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _own_names() -> tuple[str, ...]:
    name = socket.gethostname().lower()
    return name, f"{name}.local"
