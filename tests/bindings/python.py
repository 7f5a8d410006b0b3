"""For tests/bindings.rs: checked with mypy --strict, not run. An "ignore" that is not needed is an error."""

from pathlib import Path

from oneaccess import Client, Error, Kind, Setting, Token, version

settings: dict[str, Setting] = {"timeout_ms": 5000, "basic_auth": True, "proxy": None}
client = Client("https://tenant.example", "id", "secret", ca_file=Path("ca.pem"), **settings)
Client.from_env(headers={"X-tenant-id": "1"})

try:
    token: Token = client.get_token(timeout=0.1)
    texts: list[str] = [token.access_token, token.authorization, token.token_type]
    perhaps: list[str | None] = [token.scope, token.id_token]
    client.reject(token)
    client.reject(texts[0] or perhaps[0] or str(token.expires_at + 1))
except Error as error:
    known: bool = error.kind == Kind.DENIED
    code: str | None = error.vendor_code
    numbers: list[int] = [error.kind, error.http_status, error.occurred_at]
    flags: list[bool] = [error.is_retryable, error.is_remembered]
    print(known, code, numbers, flags, error.retry_after + 0.5)


async def in_a_task() -> str:
    return (await client.token()).authorization


with client as same:
    cached: Token | None = same.cached_token()
    due: float | None = same.refresh_in()
    statistics: dict[str, int] = same.statistics()
    last: Error | None = same.last_error() or same.last_store_error()
client.set_client_secret("new")
client.close()
print(version().upper())

Client("tenant.example")  # type: ignore[call-arg]
Client("tenant.example", "id", ca_file=1.5)  # type: ignore[arg-type]
client.get_token("5")  # type: ignore[arg-type]
client.get_token().scope.upper()  # type: ignore[union-attr]
client.get_token().scope = "all"  # type: ignore[misc]
client.reject(None)  # type: ignore[arg-type]
