"""The address of an upstream: parsed once, shown without its secrets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

if TYPE_CHECKING:
    from redis.connection import AbstractConnection

SCHEMES = ("kevy", "redis", "rediss", "valkey", "valkeys", "unix")
#: Other names of a scheme: redis-py knows only the names on the right.
ALIASES = {"valkey": "redis", "valkeys": "rediss"}
#: The schemes of a Redis or Valkey server, whether it is followed or written to.
REDIS_SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix")
DEFAULT_REDIS_PORT = 6379
REDACTED = "***"

# redis-py options about a client's behaviour, not about reaching and trusting the server. They are ignored, so that a
# URL that is shared with a client works here too.
_CLIENT_OPTIONS = frozenset(
    {
        "client_name", "decode_responses", "encoding", "encoding_errors", "health_check_interval", "legacy_responses",
        "lib_name", "lib_version", "max_connections", "protocol", "retry_on_error", "retry_on_timeout",
        "socket_connect_timeout", "socket_read_size", "socket_timeout", "timeout",
    }
)  # fmt: skip
_SHOWN_OPTIONS = frozenset(
    {"db", "ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
)


@dataclass(frozen=True, slots=True)
class UpstreamUrl:
    """An upstream's address and login. ``repr`` and ``str`` never show a secret. Made by ``parse_upstream``.

    ``kind`` is ``"kevy"`` or ``"redis"`` (the protocol family); ``path`` is set for a Unix socket, else ``host`` and
    ``port`` are. ``db`` is the database that a data connection would select, and ``names_db`` says whether the URL
    names it. Replication carries all databases.
    """

    kind: str
    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""
    db: int = 0
    shown_options: str = ""
    options: dict[str, Any] = field(default_factory=dict, repr=False, hash=False)
    names_db: bool = False

    @property
    def redacted(self) -> str:
        """The URL for display: user name and address, ``***`` for every secret."""
        login = ""
        if self.options.get("username") or self.options.get("password"):
            login = quote(str(self.options.get("username") or ""), safe="")
            login += f":{REDACTED}@" if self.options.get("password") else "@"
        return f"{self.scheme}://{login}{self._place}{self.shown_options}"

    @property
    def address(self) -> str:
        """The URL with neither a user name nor a secret."""
        return f"{self.scheme}://{self._place}"

    @property
    def _place(self) -> str:
        if self.scheme == "unix":
            return quote(self.path)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" + (f"/{self.db}" if self.db else "")

    def shard(self, index: int) -> UpstreamUrl:
        """The listener of shard ``index``: kevy's shard i is at port + i. ValueError past port 65535."""
        if self.kind != "kevy":
            raise ValueError(f"{self.redacted} is one stream: only kevy:// URLs have shards")
        if not 0 <= index <= 65535 - self.port:
            raise ValueError(f"{self.redacted}: there is no port for shard {index}")
        return replace(self, port=self.port + index)

    def check_all_databases(self) -> None:
        """Raises ValueError if the URL names a database: replication carries all of them.

        This includes database 0: a user who names it may want only that one, and would get the others too.
        """
        if self.names_db:
            raise ValueError(
                f"{self.redacted} names database {self.db}, but a replica follows all databases of its upstream: "
                "remove the number from the URL"
            )

    def scrub(self, text: str) -> str:
        """``text`` (from a server or a library) without the secrets of this URL."""
        for name in ("password", "ssl_password"):
            secret = self.options.get(name)
            if secret:
                for form in (str(secret), quote(str(secret), safe=""), quote(str(secret))):
                    text = text.replace(form, REDACTED)
        return text

    def redis_connection(self, timeout_s: float) -> AbstractConnection:
        """A redis-py connection, not connected yet. It sends AUTH if the URL has a login, and nothing else."""
        classes = _redis_classes()
        where: dict[str, Any] = {"path": self.path} if self.scheme == "unix" else {"host": self.host, "port": self.port}
        connection: AbstractConnection = classes[self.scheme](
            **where,
            **self.options,
            protocol=2,  # RESP3 would send HELLO, and a replication link speaks RESP2
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
        )
        # Prevents CLIENT SETINFO, for which a replication user may lack the permission. These are attributes because
        # the constructor's argument names differ between versions of redis-py.
        for name in ("driver_info", "lib_name", "lib_version"):
            setattr(connection, name, None)
        return connection

    def __str__(self) -> str:
        return self.redacted

    def __repr__(self) -> str:
        return f"UpstreamUrl({self.redacted!r})"


def parse_upstream(url: str | UpstreamUrl) -> UpstreamUrl:
    """Parse ``kevy://host:port``, ``redis://[user:password@]host[:port][/db]``, ``rediss://`` or ``unix://path``.

    ``valkey://`` and ``valkeys://`` are aliases of ``redis://`` and ``rediss://``, and are shown as these.
    The query takes redis-py's options (``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``, ``ssl_cert_reqs``, ...).
    Raises ValueError, whose text never contains a part of a password, and ModuleNotFoundError for a Redis URL if
    redis-py is not installed.
    """
    if isinstance(url, UpstreamUrl):
        return url
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    if scheme not in SCHEMES:
        raise ValueError(f"an upstream URL starts with one of {', '.join(s + '://' for s in SCHEMES)}")
    try:
        parts = urlsplit(url)
        port, query = parts.port, parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        # The cause quotes the text in the place of the port, which may be a part of a password.
        raise ValueError(_unreadable(scheme)) from None
    if parts.fragment or "@" in parts.path + parts.query:
        raise ValueError(_unreadable(scheme))
    if scheme == "kevy":
        return _parse_kevy(
            parts.hostname, port, plain=not (parts.username or parts.password or parts.path.strip("/") or query)
        )
    return _parse_redis(url[len(scheme) :], ALIASES.get(scheme, scheme), [name for name, _ in query])


def url_with_password(url: str, password: str) -> str:
    """The text of a ``redis://`` or ``unix://`` URL with ``password``; ``{shard}`` in it stays.

    Raises as :func:`parse_upstream`, and ValueError for a kevy:// URL and for a URL that has a password already.
    """
    parsed = parse_upstream(url.replace("{shard}", "0"))
    if parsed.kind == "kevy":
        raise ValueError(f"{parsed.redacted}: a kevy:// URL takes no password")
    if parsed.options.get("password"):
        text = "its password was given twice: in the URL and beside it. Remove one of them"
        raise ValueError(f"{parsed.redacted}: {text}")
    scheme, _, rest = url.partition("://")
    login, _, place = rest.rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}:{quote(password, safe='')}@{place}"


def _unreadable(scheme: str) -> str:
    return (
        f"the host, port or options of this {scheme}:// URL are invalid: "
        "check them, and percent-encode reserved characters in the password"
    )


def _parse_kevy(host: str | None, port: int | None, *, plain: bool) -> UpstreamUrl:
    if not plain:
        raise ValueError("a kevy:// URL is kevy://host:port, without a login, database or options: remove them")
    if not host or not port:
        raise ValueError("a kevy:// URL needs a host and a port: kevy://host:port")
    return UpstreamUrl("kevy", "kevy", host=host, port=port)


def _parse_redis(address: str, scheme: str, names: list[str]) -> UpstreamUrl:
    _redis_classes()
    from redis.connection import parse_url
    from redis.exceptions import RedisError

    parse: Callable[[str], dict[str, Any]] = parse_url  # untyped in redis-py
    try:
        options = dict(parse(scheme + address))
    except ValueError:
        raise ValueError(_unreadable(scheme)) from None
    options.pop("connection_class", None)
    shown = sorted(set(names) - _CLIENT_OPTIONS - {"username", "password"})
    names_db = "db" in options
    path = urlsplit(scheme + address).path.strip("/")
    if scheme != "unix" and path and not names_db:  # redis-py ignores a path that is not a number
        raise ValueError(_unreadable(scheme))
    parsed = UpstreamUrl(
        "redis",
        scheme,
        host=options.pop("host", "localhost"),
        port=options.pop("port", DEFAULT_REDIS_PORT),
        path=options.pop("path", ""),
        db=options.pop("db", 0),
        shown_options="".join(
            f"{'&' if i else '?'}{quote(name)}={quote(str(options[name])) if name in _SHOWN_OPTIONS else REDACTED}"
            for i, name in enumerate(name for name in shown if name in options)
        ),
        options={name: value for name, value in options.items() if name not in _CLIENT_OPTIONS},
        names_db=names_db,
    )
    if scheme == "unix" and not parsed.path:
        raise ValueError("a unix:// URL needs the path of a socket: unix:///run/redis.sock")
    try:
        parsed.redis_connection(1.0)
    except (TypeError, ValueError, RedisError):
        known = ", ".join(quote(name) for name in shown)
        raise ValueError(
            f"{parsed.redacted}: redis-py refuses an option or its value: check the options ({known})"
        ) from None
    return parsed


def _redis_classes() -> dict[str, Any]:
    try:
        from redis import connection
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Redis upstreams need the package redis: pip install 'kevy-ring[ingest]'", name=error.name
        ) from None
    return {
        "redis": connection.Connection,
        "rediss": connection.SSLConnection,
        "unix": connection.UnixDomainSocketConnection,
    }
