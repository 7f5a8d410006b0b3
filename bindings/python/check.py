"""Checks the wrapper. Prints one line per check: those that tests/bindings.rs expects."""

import asyncio
import gc
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import oneaccess
from oneaccess import Client, Error, Kind

ENDPOINT = os.environ["ONEACCESS_ENDPOINT"]
ID = os.environ["ONEACCESS_CLIENT_ID"]
SECRET = os.environ["ONEACCESS_CLIENT_SECRET"]
CA_FILE = os.environ["ONEACCESS_CA_FILE"]


def check(name, passed):
    print("ok" if passed else "FAILED", name)


def failure(call, *arguments, **settings):
    try:
        call(*arguments, **settings)
    except Error as error:
        return error


def refused(call, *arguments, **settings):
    try:
        call(*arguments, **settings)
    except (TypeError, ValueError):
        return True


async def in_tasks(client):
    return await asyncio.gather(*(client.token() for _ in range(100)))


def check_store():
    def with_store(folder):
        return Client(ENDPOINT, ID, SECRET, ca_file=CA_FILE, store=f"file:{folder}")

    with TemporaryDirectory() as folder:
        first = with_store(f"{folder}/store")
        second = with_store(f"{folder}/store")
        shared = first.get_token() == second.get_token()
    numbers = second.statistics()
    shared = shared and numbers["store_hits"] == 1 and numbers["attempts"] == 0
    shared = shared and second.last_store_error() is None
    without = with_store("/nonexistent/folder")
    bearer = without.get_token().token_type == "Bearer"
    numbers = without.statistics()
    skipped = numbers["store_hits"] == 0 and numbers["attempts"] == 1
    skipped = skipped and numbers["store_failures"] >= 1
    config = without.last_store_error().kind == Kind.CONFIG
    check("shared store", shared and bearer and skipped and config)


def main():
    check("version", oneaccess.version() == "0.1.0")

    # The environment has everything, but must not complete explicit credentials.
    check("no endpoint", failure(Client, None, ID, SECRET).kind == Kind.ARGUMENT)
    check("no secret", failure(Client, ENDPOINT, ID).kind == Kind.ARGUMENT)
    error = failure(Client, ENDPOINT, ID, SECRET, timeout=5)
    check("unknown setting", error.kind == Kind.CONFIG and "timeout_ms" in str(error))
    wrong_type = refused(Client, ENDPOINT, ID, SECRET, proxy={}, timeout_ms=1.5)
    bad_value = failure(Client, ENDPOINT, ID, SECRET, timeout_ms=0)
    check("bad value", bad_value.kind == Kind.CONFIG and wrong_type)
    check("NUL character", refused(Client, ENDPOINT, ID, SECRET, ca_file="a\0b"))
    line_break = failure(Client, ENDPOINT, ID, SECRET, headers={"X": "1\r\nY: 2"})
    lines = refused(Client, ENDPOINT, ID, SECRET, headers=["X: 1"])
    check("headers", line_break.kind == Kind.ARGUMENT and lines)
    client = Client(
        ENDPOINT,
        ID,
        SECRET,
        ca_file=Path(CA_FILE),
        timeout_ms=20_000,
        system_roots=False,
        client_key_file=None,
        headers={"X-Test": "bindings"},
    )

    nothing = client.cached_token() is None and client.refresh_in() == 0
    check("no token yet", nothing and failure(client.get_token, timeout=0).kind == Kind.TIMEOUT)
    token = client.get_token()
    words = token.token_type == "Bearer" and token.scope == "all" and token.id_token.count(".") == 2
    authorization = token.authorization == "Bearer " + token.access_token
    check("token", words and authorization and 0 < token.expires_at - time.time() <= 1801)
    check("cached token", client.cached_token() == token == client.get_token(timeout=0))
    check("refresh in", 0 < client.refresh_in() < 1800)
    client.reject(token)
    new_token = client.get_token()
    check("rejected token", new_token != token)
    client.reject(new_token.access_token)  # too early after the first rejection: ignored
    check("rejected again", client.get_token(timeout=math.inf) == new_token)
    numbers = client.statistics()
    times = numbers.pop("token_age_ms") >= 0 and numbers.pop("token_remaining_ms") > 0
    expected = {**dict.fromkeys(numbers, 0), "refreshes": 2, "attempts": 2, "rejections": 1}
    check("statistics", times and numbers == expected)
    with ThreadPoolExecutor(8) as threads:
        tokens = set(threads.map(lambda _: client.get_token(), range(8)))
    check("threads", tokens == {new_token})
    child = os.fork()
    if child == 0:
        os._exit(client.get_token() != new_token)
    check("forked child", os.waitpid(child, 0)[1] == 0)

    other = Client(ENDPOINT, ID, SECRET, ca_file=CA_FILE)
    tokens = set(asyncio.run(in_tasks(other)))
    check("asynchronous", len(tokens) == 1 and other.statistics()["attempts"] == 1)

    wrong = Client(ENDPOINT, ID, "wrong", ca_file=CA_FILE)
    error = failure(wrong.get_token)
    denied = (error.kind, error.http_status, error.vendor_code) == (
        Kind.DENIED,
        401,
        "invalid_client",
    )
    now = 0 <= time.time() - error.occurred_at < 60
    check("denied", denied and now and not error.is_retryable and not error.is_remembered)
    error = failure(wrong.get_token)
    check("remembered", error.is_remembered and 0 < error.retry_after < 3600)
    check("last error", wrong.last_error().kind == Kind.DENIED)
    check("empty secret", failure(wrong.set_client_secret, "").kind == Kind.ARGUMENT)
    wrong.set_client_secret(SECRET)
    check("new secret", wrong.get_token().token_type == "Bearer" and wrong.last_error() is None)
    error = failure(Client(ENDPOINT, "disabled-id", SECRET, ca_file=CA_FILE).get_token)
    check("vendor code", error.vendor_code == "APP.0003" and "应用已禁用" in str(error))

    check_store()

    surrogate = failure(Client, ENDPOINT, ID, SECRET + "\ud800")
    shown = f"{client!r} {token!r} {token} {error!r} {surrogate!r}"
    hidden = not any(text in shown for text in (SECRET, token.access_token, token.id_token))
    check("secrets hidden", hidden)

    client.close()
    client.close()
    closed = client.cached_token() is None and client.refresh_in() is None
    check("closed", closed and failure(client.get_token).kind == Kind.CLOSED)
    with Client.from_env(timeout_ms=20_000, headers={"X-Test": "settings"}) as client:
        check("from the environment", client.get_token().token_type == "Bearer")


main()
gc.collect()  # frees the clients that tracebacks refer to
