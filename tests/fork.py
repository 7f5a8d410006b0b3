"""Forks while a client is in use. ONEACCESS_LIBRARY is the path of the shared library."""
import ctypes
import os
import sys
import threading
import time

lib = ctypes.CDLL(os.environ["ONEACCESS_LIBRARY"])
for name in ("config_new_from_env", "client_new", "client_get_token_within", "token_access_token",
             "error_message"):
    getattr(lib, "oneaccess_" + name).restype = ctypes.c_void_p


def text(address):
    return ctypes.string_at(address).decode()


def get(timeout_ms=20000):
    token = ctypes.c_void_p()
    error = lib.oneaccess_client_get_token_within(
        client, ctypes.c_int64(timeout_ms), ctypes.byref(token))
    if error:
        raise RuntimeError(text(lib.oneaccess_error_message(ctypes.c_void_p(error))))
    value = text(lib.oneaccess_token_access_token(token))
    lib.oneaccess_token_free(token)
    return value


def in_child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert status == 0, status


client = ctypes.c_void_p()
config = ctypes.c_void_p(lib.oneaccess_config_new_from_env())
assert not lib.oneaccess_client_new(config, ctypes.byref(client))

if "in-refresh" in sys.argv:
    def hang():
        try:
            get()
        except RuntimeError:
            pass  # the client is closed below

    leader = threading.Thread(target=hang)
    leader.start()
    time.sleep(0.5)
    start = time.monotonic()
    in_child(get)
    assert time.monotonic() - start < 5
    lib.oneaccess_client_close(client)
    leader.join()
else:
    token = get()

    def cached():
        assert get(0) == token

    def refreshed():
        lib.oneaccess_client_reject_token(client, token.encode())
        get()

    in_child(cached)
    in_child(refreshed)
    cached()
lib.oneaccess_client_free(client)
print("ok")
