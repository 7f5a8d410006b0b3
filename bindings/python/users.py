"""Prints the names of the users of a OneAccess tenant."""

import json
import os
import ssl
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import oneaccess

URL = os.environ["ONEACCESS_ENDPOINT"] + "/api/v2/tenant/users"
TLS = ssl.create_default_context(cafile=os.environ.get("ONEACCESS_CA_FILE"))


def call(client, url, attempts=2):
    """Calls a management API. If it rejects the token, tries once more with a new one."""
    token = client.get_token()
    request = Request(url, headers={"Authorization": token.authorization})
    try:
        with urlopen(request, context=TLS) as response:
            return json.load(response)
    except HTTPError as error:
        with error:
            rejected = error.code == 401 or error.code == 400 and b"invalid_token" in error.read()
        if not rejected or attempts == 1:
            raise
    client.reject(token)
    return call(client, url, attempts - 1)


def main():
    with oneaccess.Client.from_env() as client:
        for user in call(client, URL)["users"]:
            print(user["user_name"])


main()
