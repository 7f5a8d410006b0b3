"""Access tokens of Huawei Cloud OneAccess, kept fresh by liboneaccess."""

from ctypes import CDLL, POINTER, byref, c_char_p, c_int32, c_int64, c_void_p
from dataclasses import dataclass, field
from weakref import finalize

DENIED, CLOSED = 7, 11  # kinds of errors; all of them are in oneaccess.h

_library = CDLL("liboneaccess.so.0")


def _function(name, result, *arguments):
    function = _library["oneaccess_" + name]
    function.restype, function.argtypes = result, arguments
    return function


_config_from_env = _function("config_new_from_env", c_void_p)
_config_new = _function("config_new", c_void_p, c_char_p, c_char_p, c_char_p)
_config_set = _function("config_set", None, c_void_p, c_char_p, c_char_p)
_config_free = _function("config_free", None, c_void_p)
_client_new = _function("client_new", c_void_p, c_void_p, POINTER(c_void_p))
_client_get_token = _function("client_get_token", c_void_p, c_void_p, POINTER(c_void_p))
_client_reject_token = _function("client_reject_token", None, c_void_p, c_char_p)
_client_close = _function("client_close", None, c_void_p)
_client_free = _function("client_free", None, c_void_p)
_token_access_token = _function("token_access_token", c_char_p, c_void_p)
_token_authorization = _function("token_authorization", c_char_p, c_void_p)
_token_expires_at = _function("token_expires_at", c_int64, c_void_p)
_token_free = _function("token_free", None, c_void_p)
_error_kind = _function("error_kind", c_int32, c_void_p)
_error_http_status = _function("error_http_status", c_int32, c_void_p)
_error_vendor_code = _function("error_vendor_code", c_char_p, c_void_p)
_error_message = _function("error_message", c_char_p, c_void_p)
_error_is_retryable = _function("error_is_retryable", c_int32, c_void_p)
_error_free = _function("error_free", None, c_void_p)


class Error(Exception):
    """Why there is no token."""

    def __init__(self, message, kind=0, http_status=0, vendor_code=None, is_retryable=False):
        super().__init__(message)
        self.kind = kind
        self.http_status = http_status
        self.vendor_code = vendor_code
        self.is_retryable = is_retryable


@dataclass(frozen=True)
class Token:
    access_token: str = field(repr=False)
    authorization: str = field(repr=False)  # "Bearer ...", ready for the header
    expires_at: int  # Unix time; to show, not to decide


class Client:
    """Share one among all threads; a forked child may go on using it."""

    def __init__(self, endpoint=None, client_id=None, client_secret=None, ca_file=None):
        """Without arguments: from the environment, ONEACCESS_ENDPOINT and so on."""
        if endpoint is None:
            config = _config_from_env()
        else:
            config = _config_new(*map(str.encode, (endpoint, client_id, client_secret)))
        try:
            if ca_file is not None:
                _config_set(config, b"ca_file", ca_file.encode())
            self._handle = c_void_p()
            _check(_client_new(config, byref(self._handle)))
        finally:
            _config_free(config)
        # A method that runs holds self: nobody is in a call when this comes. At exit daemon
        # threads may still be, so the memory is left to the system then.
        finalize(self, _client_free, self._handle).atexit = False

    def get_token(self):
        """Call it before every use. Blocks about once in a token's life, without the GIL."""
        token = c_void_p()
        _check(_client_get_token(self._handle, byref(token)))
        try:
            return Token(
                _token_access_token(token).decode(),
                _token_authorization(token).decode(),
                _token_expires_at(token),
            )
        finally:
            _token_free(token)

    def reject(self, token):
        """A management API did not accept this token."""
        _client_reject_token(self._handle, token.access_token.encode())

    def close(self):
        """Ends all calls, those of other threads too."""
        _client_close(self._handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _check(error):
    if not error:
        return
    try:
        vendor_code = _error_vendor_code(error)
        raise Error(
            _error_message(error).decode(),
            _error_kind(error),
            _error_http_status(error),
            vendor_code and vendor_code.decode(),
            bool(_error_is_retryable(error)),
        )
    finally:
        _error_free(error)
