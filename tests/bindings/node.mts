// For tests/bindings.rs: compiled with tsc, not run.
import { Client, OneAccessError, version } from 'oneaccess';
import type { ClientOptions, Kind, Statistics, Token } from 'oneaccess';

const options: ClientOptions = {
  endpoint: new URL('https://tenant.example'),
  client_id: 'id',
  client_secret: 'secret',
  timeout_ms: 5000,
  basic_auth: true,
  ca_file: new URL('file:///ca.pem'),
  proxy: null,
  headers: { 'X-tenant-id': '1' },
};
const client = new Client(options);
Client.fromEnv();
Client.fromEnv({ headers: new Map([['X-tenant-id', '1']]) });

try {
  const token: Token = await client.getToken({ timeoutMs: 100 });
  const texts: string[] = [token.accessToken, token.authorization, token.tokenType];
  const perhaps: (string | null)[] = [token.scope, token.idToken];
  client.reject(token);
  client.reject(texts[0] ?? perhaps[0] ?? token.expiresAt.toISOString());
} catch (error) {
  if (error instanceof OneAccessError && error.kind === 'DENIED') {
    const code: string | null = error.vendorCode;
    const numbers: number[] = [error.code, error.httpStatus, error.retryAfterMs];
    const flags: boolean[] = [error.isRetryable, error.isRemembered];
    console.log(code, numbers, flags, error.occurredAt.toISOString());
  }
}
const cached: Token | null = client.cachedToken();
const due: number | null = client.refreshInMs();
const statistics: Statistics = client.statistics();
const kind: Kind | undefined = (client.lastError() ?? client.lastStoreError())?.kind;
client.setClientSecret('new');
client.close();
console.log(version(), cached, due, statistics.refreshes + statistics.storeHits, kind);

// @ts-expect-error: no client_id
new Client({ endpoint: 'tenant.example' });
// @ts-expect-error: not a setting's type
new Client({ ...options, ca_file: new Date() });
// @ts-expect-error: a number, not an object
client.getTokenSync(5);
// @ts-expect-error: null
client.getTokenSync().idToken.length;
// @ts-expect-error: read-only
client.getTokenSync().scope = 'all';
