"""Access tokens of Huawei Cloud OneAccess (Bamboocloud), kept fresh.

client = oneaccess.Client.from_env()    # one for the whole process
token = client.get_token()              # before every use, from any thread
headers = {"Authorization": token.authorization}
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Mapping
from concurrent.futures import Future
from ctypes import POINTER, byref, c_char_p, c_int32, c_int64, c_void_p
from dataclasses import dataclass, field
from enum import IntEnum
from math import ceil
from threading import Thread
from typing import Any, NoReturn, Union
from weakref import finalize

__all__ = ["Client", "Error", "Kind", "Setting", "Token", "version"]

Setting = Union[str, int, "os.PathLike[str]", Mapping[str, str], None]


class Kind(IntEnum):
    """What failed. The library's README says what to do about each kind."""

    ARGUMENT = 1
    CONFIG = 2
    TRANSPORT = 3
    PROXY = 4
    TLS = 5
    TIMEOUT = 6
    DENIED = 7
    THROTTLED = 8
    SERVER = 9
    PROTOCOL = 10
    CLOSED = 11
    INTERNAL = 12


_STATISTICS = {
    1: "refreshes",
    2: "attempts",
    3: "failures",
    4: "waits",
    5: "rejections",
    6: "denials",
    7: "token_age_ms",
    8: "token_remaining_ms",
    9: "store_hits",
    10: "store_failures",
}


class Error(Exception):
    """A call failed. The message is one line that says what to do; it contains no secret."""

    def __init__(
        self,
        message: str,
        kind: int,
        http_status: int = 0,
        vendor_code: str | None = None,
        is_retryable: bool = False,
        is_remembered: bool = False,
        occurred_at: int = 0,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.kind = Kind(kind) if kind in list(Kind) else kind
        self.http_status = http_status  # 0 if there was no response
        self.vendor_code = vendor_code  # error_code of OneAccess, or the OAuth error
        self.is_retryable = is_retryable  # may succeed later without any change
        self.is_remembered = is_remembered  # from an earlier request; this call sent none
        self.occurred_at = occurred_at  # Unix time
        self.retry_after = retry_after  # seconds until a retry makes sense, when raised


@dataclass(frozen=True)
class Token:
    access_token: str = field(repr=False)
    authorization: str = field(repr=False)  # "Bearer ...", the value of the header
    token_type: str
    scope: str | None
    id_token: str | None = field(repr=False)
    expires_at: int  # Unix time; for display, the client decides when to refresh


class Client:
    """Gets access tokens for one application. Share one client among all threads and tasks; on
    Linux a forked child can continue to use it."""

    def __init__(
        self,
        endpoint: str,
        client_id: str,
        client_secret: str | None = None,
        **settings: Setting,
    ) -> None:
        """Settings are those of docs/settings.md, by name: `timeout_ms=5000`, `ca_file=path`,
        `headers={"X-tenant-id": "1"}`. None is the same as leaving one out."""
        config = _config_new(
            _encode("endpoint", endpoint),
            _encode("client_id", client_id),
            _encode("client_secret", client_secret),
        )
        self._open(config, settings)

    @classmethod
    def from_env(cls, **settings: Setting) -> Client:
        """Reads ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID, ONEACCESS_CLIENT_SECRET and all settings
        from the environment; `settings` take precedence."""
        client = cls.__new__(cls)
        client._open(_config_new_from_env(), settings)
        return client

    def _open(self, config: int, settings: Mapping[str, Setting]) -> None:
        self._refresh: tuple[int, Future[Token]] = (0, Future())
        self._handle = c_void_p()
        try:
            for name, value in settings.items():
                if name == "headers" and isinstance(value, Mapping):
                    _config_set(config, b"headers", None)  # removes those from the environment
                    for header, text in value.items():
                        _config_add_header(config, _encode(name, header), _encode(name, text))
                elif value is not None:
                    _config_set(config, _encode("a setting", name), _encode(name, value))
            _check(_client_new(config, byref(self._handle)))
        finally:
            _config_free(config)
        # A running method holds self, so no call is in progress when this runs. At exit daemon
        # threads may still be in a call: the operating system frees the memory then.
        finalize(self, _client_free, self._handle).atexit = False

    def get_token(self, timeout: float | None = None) -> Token:
        """A valid token; call it before each use. Usually it comes from memory. Otherwise the call
        blocks, without the GIL, for at most `timeout` seconds (default: the setting timeout_ms).
        With 0 it sends no request."""
        token = c_void_p()
        if timeout is None:
            _check(_client_get_token(self._handle, byref(token)))
        else:
            _check(_client_get_token_within(self._handle, _milliseconds(timeout), byref(token)))
        return _take_token(token)

    async def token(self) -> Token:
        """Like get_token, for asyncio: never blocks the event loop. A usable token comes from
        memory; if it is due to be refreshed, that happens in a thread, one at a time."""
        cached = self.cached_token()
        if cached and self.refresh_in() != 0:
            return cached
        refresh = self._refresh_in_thread()
        if cached:
            return cached
        return await asyncio.wrap_future(refresh)

    def _refresh_in_thread(self) -> Future[Token]:
        # A thread does not survive a fork: the child must not wait for its parent's.
        pid, refresh = self._refresh
        if pid == os.getpid() and not refresh.done():
            return refresh
        refresh = Future()
        refresh.set_running_or_notify_cancel()  # a cancelled task must not cancel it for others
        self._refresh = os.getpid(), refresh
        # Not an executor: the interpreter waits for the threads of executors at exit.
        Thread(target=self._run, args=(refresh,), daemon=True).start()
        return refresh

    def _run(self, refresh: Future[Token]) -> None:
        try:
            refresh.set_result(self.get_token())
        except BaseException as error:
            refresh.set_exception(error)

    def cached_token(self) -> Token | None:
        """The token in memory if it is usable. Never waits and never sends a request."""
        token = _client_get_cached_token(self._handle)
        return _take_token(token) if token else None

    def refresh_in(self) -> float | None:
        """Seconds until get_token should be called to refresh the token; None: never, the client
        is closed."""
        milliseconds: int = _client_refresh_in_ms(self._handle)
        return None if milliseconds < 0 else milliseconds / 1000

    def reject(self, token: Token | str) -> None:
        """Reports that a management API rejected this token: HTTP 401, or HTTP 400 with
        `invalid_token` in the body. The next get_token requests a new one."""
        access_token = token.access_token if isinstance(token, Token) else token
        _client_reject_token(self._handle, _encode("access_token", access_token))

    def set_client_secret(self, client_secret: str) -> None:
        """Uses this secret for all further requests. The current token is kept."""
        _check(_client_set_client_secret(self._handle, _encode("client_secret", client_secret)))

    def statistics(self) -> dict[str, int]:
        """The ONEACCESS_STAT_* numbers of oneaccess.h, of this client in this process."""
        return {name: _client_stat(self._handle, stat) for stat, name in _STATISTICS.items()}

    def last_error(self) -> Error | None:
        """Why the last request failed, also if no call reported it because the token was still
        valid. None if it succeeded."""
        error = _client_get_last_error(self._handle)
        return _take_error(error) if error else None

    def last_store_error(self) -> Error | None:
        """The last failure of the shared store (setting store), however long ago. None if there was
        none. No call reports it: the call goes on without the store."""
        error = _client_get_last_store_error(self._handle)
        return _take_error(error) if error else None

    def close(self) -> None:
        """Ends all calls, also those in other threads, with CLOSED."""
        _client_close(self._handle)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Client cannot be pickled; create one in each process")


def version() -> str:
    """Version of the loaded library."""
    return str(_version().decode())


def _encode(name: str, value: Setting) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, bool):
        value = str(value).lower()
    elif not isinstance(value, (str, int, os.PathLike)):
        kind = type(value).__name__
        raise TypeError(f"{name} must be a str, an int, a bool or a path, not {kind}")
    if isinstance(value, os.PathLike):
        text = os.fsencode(value)
    else:
        # The library refuses surrogates; a UnicodeEncodeError would show the text, maybe a secret.
        text = str(value).encode(errors="surrogatepass")
    if b"\0" in text:
        raise ValueError(f"{name} must not contain a NUL character")
    return text


def _milliseconds(seconds: float) -> int:
    return ceil(min(seconds, 86_400) * 1000)  # the library counts more than a day as a day


def _take_token(token: c_void_p | int) -> Token:
    try:
        return Token(
            _text(_token_access_token(token)) or "",
            _text(_token_authorization(token)) or "",
            _text(_token_token_type(token)) or "",
            _text(_token_scope(token)),
            _text(_token_id_token(token)),
            _token_expires_at(token),
        )
    finally:
        _token_free(token)


def _take_error(error: int) -> Error:
    try:
        return Error(
            _text(_error_message(error)) or "",
            _error_kind(error),
            _error_http_status(error),
            _text(_error_vendor_code(error)),
            bool(_error_is_retryable(error)),
            bool(_error_is_remembered(error)),
            _error_occurred_at(error),
            _error_retry_after_ms(error) / 1000,
        )
    finally:
        _error_free(error)


def _check(error: int | None) -> None:
    if error:
        raise _take_error(error)


def _text(text: bytes | None) -> str | None:
    return None if text is None else text.decode()


def _load() -> ctypes.CDLL:
    names = {"darwin": "liboneaccess.0.dylib", "win32": "oneaccess.dll"}
    name = names.get(sys.platform, "liboneaccess.so.0")
    packaged = os.path.join(os.path.dirname(__file__), name)
    path = os.environ.get("ONEACCESS_LIBRARY") or (packaged if os.path.exists(packaged) else name)
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        raise ImportError(
            f"cannot load the oneaccess library: {error}; install it, or set ONEACCESS_LIBRARY to "
            "its path"
        ) from error


_library = _load()


def _function(name: str, result: Any, *arguments: Any) -> Any:
    function = _library[name]
    function.restype, function.argtypes = result, arguments
    return function


_version = _function("oneaccess_version", c_char_p)
_config_new = _function("oneaccess_config_new", c_void_p, c_char_p, c_char_p, c_char_p)
_config_new_from_env = _function("oneaccess_config_new_from_env", c_void_p)
_config_set = _function("oneaccess_config_set", None, c_void_p, c_char_p, c_char_p)
_config_add_header = _function("oneaccess_config_add_header", None, c_void_p, c_char_p, c_char_p)
_config_free = _function("oneaccess_config_free", None, c_void_p)
_client_new = _function("oneaccess_client_new", c_void_p, c_void_p, POINTER(c_void_p))
_client_get_token = _function("oneaccess_client_get_token", c_void_p, c_void_p, POINTER(c_void_p))
_client_get_token_within = _function(
    "oneaccess_client_get_token_within", c_void_p, c_void_p, c_int64, POINTER(c_void_p)
)
_client_get_cached_token = _function("oneaccess_client_get_cached_token", c_void_p, c_void_p)
_client_refresh_in_ms = _function("oneaccess_client_refresh_in_ms", c_int64, c_void_p)
_client_reject_token = _function("oneaccess_client_reject_token", None, c_void_p, c_char_p)
_client_set_client_secret = _function(
    "oneaccess_client_set_client_secret", c_void_p, c_void_p, c_char_p
)
_client_stat = _function("oneaccess_client_stat", c_int64, c_void_p, c_int32)
_client_get_last_error = _function("oneaccess_client_get_last_error", c_void_p, c_void_p)
_client_get_last_store_error = _function(
    "oneaccess_client_get_last_store_error", c_void_p, c_void_p
)
_client_close = _function("oneaccess_client_close", None, c_void_p)
_client_free = _function("oneaccess_client_free", None, c_void_p)
_token_access_token = _function("oneaccess_token_access_token", c_char_p, c_void_p)
_token_authorization = _function("oneaccess_token_authorization", c_char_p, c_void_p)
_token_token_type = _function("oneaccess_token_token_type", c_char_p, c_void_p)
_token_scope = _function("oneaccess_token_scope", c_char_p, c_void_p)
_token_id_token = _function("oneaccess_token_id_token", c_char_p, c_void_p)
_token_expires_at = _function("oneaccess_token_expires_at", c_int64, c_void_p)
_token_free = _function("oneaccess_token_free", None, c_void_p)
_error_kind = _function("oneaccess_error_kind", c_int32, c_void_p)
_error_http_status = _function("oneaccess_error_http_status", c_int32, c_void_p)
_error_vendor_code = _function("oneaccess_error_vendor_code", c_char_p, c_void_p)
_error_message = _function("oneaccess_error_message", c_char_p, c_void_p)
_error_is_retryable = _function("oneaccess_error_is_retryable", c_int32, c_void_p)
_error_is_remembered = _function("oneaccess_error_is_remembered", c_int32, c_void_p)
_error_occurred_at = _function("oneaccess_error_occurred_at", c_int64, c_void_p)
_error_retry_after_ms = _function("oneaccess_error_retry_after_ms", c_int64, c_void_p)
_error_free = _function("oneaccess_error_free", None, c_void_p)
