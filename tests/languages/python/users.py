"""Counts the users of a OneAccess tenant, in threads and after a fork."""

import json
import os
import ssl
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import oneaccess

USERS_URL = os.environ["ONEACCESS_TENANT_USERS_URL"]
CA_FILE = os.environ.get("ONEACCESS_CA_FILE")
TLS = ssl.create_default_context(cafile=CA_FILE)


def get(client, url, attempts=2):
    """Calls a management API; replaces a token that it no longer accepts."""
    token = client.get_token()
    request = Request(url, headers={"Authorization": token.authorization})
    try:
        with urlopen(request, context=TLS) as answer:
            return json.load(answer)
    except HTTPError as error:
        with error:
            expired = error.code == 401 or error.code == 400 and b"invalid_token" in error.read()
        if not expired or attempts == 1:
            raise
    client.reject(token)
    return get(client, url, attempts - 1)


def count_users(client):
    return get(client, USERS_URL)["total"]


def in_threads(client):
    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(lambda _: count_users(client), range(8)))


def in_a_child(client):
    child = os.fork()
    if child == 0:
        os._exit(count_users(client))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def show_error(client_id):
    try:
        client = oneaccess.Client(os.environ["ONEACCESS_ENDPOINT"], client_id, "wrong", CA_FILE)
        with client:
            client.get_token()
    except oneaccess.Error as error:
        print(f"kind {error.kind}, HTTP {error.http_status}, {error.vendor_code}: {error}")


def main():
    with oneaccess.Client() as client:
        print("users:", *in_threads(client), in_a_child(client))
    show_error(os.environ["ONEACCESS_CLIENT_ID"])
    show_error("disabled-application")


main()
print("ok")
