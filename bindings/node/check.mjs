// Checks the wrapper. Prints one line per check: those that tests/bindings.rs expects.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { Client, OneAccessError, version } from './oneaccess.js';

const {
  ONEACCESS_ENDPOINT: endpoint,
  ONEACCESS_CLIENT_ID: client_id,
  ONEACCESS_CLIENT_SECRET: client_secret,
  ONEACCESS_CA_FILE: ca_file,
} = process.env;
const credentials = { endpoint, client_id, client_secret };

function check(name, passed) {
  console.log(passed ? 'ok' : 'FAILED', name);
}

async function failure(call) {
  try {
    await call();
  } catch (error) {
    if (error instanceof OneAccessError) return error;
    throw error;
  }
}

function refused(call) {
  try {
    call();
  } catch (error) {
    return error instanceof TypeError;
  }
}

const kind = async (call) => (await failure(call))?.kind;
const kindOfNew = (options) => kind(() => new Client(options));

async function main() {
  check('version', version() === '0.1.0');

  // The environment has everything, but must not complete explicit credentials.
  const noEndpoint = { client_id, client_secret };
  check('no endpoint', (await kindOfNew(noEndpoint)) === 'ARGUMENT');
  check('no secret', (await kindOfNew({ endpoint, client_id, ca_file })) === 'ARGUMENT');
  const unknown = await failure(() => new Client({ ...credentials, timeout: 5 }));
  check('unknown setting', unknown.kind === 'CONFIG' && unknown.message.includes('timeout_ms'));
  check('bad value', (await kindOfNew({ ...credentials, timeout_ms: 0 })) === 'CONFIG');
  const wrongValues = ['a\0b', { a: 'b' }, 1.5];
  const areRefused = wrongValues.every((ca_file) =>
    refused(() => new Client({ ...credentials, ca_file })),
  );
  const loneSurrogate = refused(() => new Client({ ...credentials, client_secret: '\ud800' }));
  check('NUL character', areRefused && loneSurrogate);
  const lineBreak = await kindOfNew({ ...credentials, headers: { X: '1\r\nY: 2' } });
  const wrongHeaders = [['X: 1'], new Date(), new URL('https://x')];
  const headersAreRefused = wrongHeaders.every((headers) =>
    refused(() => new Client({ ...credentials, headers })),
  );
  check('headers', lineBreak === 'ARGUMENT' && headersAreRefused);
  const client = new Client({
    ...credentials,
    ca_file: pathToFileURL(ca_file),
    timeout_ms: 20_000,
    system_roots: false,
    client_key_file: null,
    headers: { 'X-Test': 'bindings' },
  });

  const nothing = client.cachedToken() === null && client.refreshInMs() === 0;
  const noTime = await kind(() => client.getToken({ timeoutMs: 0 }));
  check('no token yet', nothing && noTime === 'TIMEOUT');
  const token = client.getTokenSync();
  const words = token.tokenType === 'Bearer' && token.scope === 'all';
  const header = token.authorization === `Bearer ${token.accessToken}`;
  const life = token.expiresAt - Date.now();
  const idToken = token.idToken.split('.').length === 3;
  check('token', words && header && idToken && life > 0 && life <= 1_801_000);
  const same = (other) => other.accessToken === token.accessToken;
  const again = [
    client.cachedToken(),
    client.getTokenSync({ timeoutMs: 0 }),
    await client.getToken(),
  ];
  check('cached token', again.every(same));
  check('refresh in', client.refreshInMs() > 0 && client.refreshInMs() < 1_800_000);
  client.reject(token);
  const newToken = await client.getToken({ timeoutMs: 20_000 });
  check('rejected token', !same(newToken));
  client.reject(newToken.accessToken); // too early after the first rejection: ignored
  check('rejected again', (await client.getToken()).accessToken === newToken.accessToken);
  const { tokenAgeMs, tokenRemainingMs, ...counts } = client.statistics();
  const expected = { refreshes: 2, attempts: 2, failures: 0, waits: 0, rejections: 1, denials: 0 };
  Object.assign(expected, { storeHits: 0, storeFailures: 0 });
  const times = tokenAgeMs >= 0 && tokenRemainingMs > 0;
  check('statistics', times && inspect(counts) === inspect(expected));
  const [tokenType] = await once(new Worker(new URL(import.meta.url)), 'message');
  check('threads', tokenType === 'Bearer');

  const other = new Client({ ...credentials, ca_file });
  const hundred = Array.from({ length: 100 }, () => other.getToken());
  const tokens = new Set((await Promise.all(hundred)).map((token) => token.accessToken));
  const oneRequest = tokens.size === 1 && other.statistics().attempts === 1;
  const silent = createServer().listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const hanging = new Client({ ...credentials, endpoint: `127.0.0.1:${silent.address().port}` });
  const ended = Promise.all([hanging.getToken(), hanging.getToken({ timeoutMs: 20_000 })]);
  const late = await kind(() => hanging.getToken({ timeoutMs: 1 }));
  hanging.close(); // TIMEOUT instead of CLOSED if getToken blocked the event loop
  const notBlocked = late === 'TIMEOUT' && (await kind(() => ended)) === 'CLOSED';
  silent.close();
  check('asynchronous', oneRequest && notBlocked);

  const wrong = new Client({ ...credentials, ca_file, client_secret: 'wrong' });
  const denied = await failure(() => wrong.getToken());
  const why = `${denied.kind} ${denied.code} ${denied.httpStatus} ${denied.vendorCode}`;
  const ago = Date.now() - denied.occurredAt;
  const now = ago >= 0 && ago < 60_000 && !denied.isRetryable && !denied.isRemembered;
  check('denied', why === 'DENIED 7 401 invalid_client' && now);
  const remembered = await failure(() => wrong.getTokenSync());
  const wait = remembered.retryAfterMs;
  check('remembered', remembered.isRemembered && wait > 0 && wait < 3_600_000);
  check('last error', wrong.lastError().kind === 'DENIED');
  check('empty secret', (await kind(() => wrong.setClientSecret(''))) === 'ARGUMENT');
  wrong.setClientSecret(client_secret);
  const right = await wrong.getToken();
  check('new secret', right.tokenType === 'Bearer' && wrong.lastError() === null);
  const disabled = new Client({ ...credentials, ca_file, client_id: 'disabled-id' });
  const error = await failure(() => disabled.getToken());
  check('vendor code', error.vendorCode === 'APP.0003' && error.message.includes('应用已禁用'));

  await checkStore();

  const objects = [client, token, denied];
  const options = { showHidden: true, getters: true, depth: Infinity };
  const shown = objects.map(
    (object) => `${object} ${JSON.stringify(object)} ${inspect(object, options)}`,
  );
  const secrets = [client_secret, token.accessToken, token.idToken];
  check('secrets hidden', !secrets.some((secret) => shown.join().includes(secret)));

  client.close();
  client.close();
  const closed = client.cachedToken() === null && client.refreshInMs() === null;
  check('closed', closed && (await kind(() => client.getToken())) === 'CLOSED');
  // The worker has sent a request with a client like this.
  const fromEnv = Client.fromEnv({ timeout_ms: 20_000 });
  check(
    'from the environment',
    (await kind(() => fromEnv.getTokenSync({ timeoutMs: 0 }))) === 'TIMEOUT',
  );
}

async function checkStore() {
  const folder = mkdtempSync(join(tmpdir(), 'oneaccess-'));
  const storeIn = (folder) => new Client({ ...credentials, ca_file, store: `file:${folder}` });
  const first = storeIn(`${folder}/store`);
  const second = storeIn(`${folder}/store`);
  const token = await first.getToken();
  const same = (await second.getToken()).accessToken === token.accessToken;
  rmSync(folder, { recursive: true });
  const { storeHits, attempts } = second.statistics();
  const shared = same && storeHits === 1 && attempts === 0 && second.lastStoreError() === null;
  const without = storeIn('/nonexistent/folder');
  const bearer = (await without.getToken()).tokenType === 'Bearer';
  const numbers = without.statistics();
  const skipped = numbers.storeHits === 0 && numbers.attempts === 1 && numbers.storeFailures >= 1;
  const isConfig = without.lastStoreError().kind === 'CONFIG';
  check('shared store', shared && bearer && skipped && isConfig);
}

async function inWorker() {
  const client = Client.fromEnv({ timeout_ms: 20_000, headers: { 'X-Test': 'settings' } });
  parentPort.postMessage((await client.getToken()).tokenType);
}

await (isMainThread ? main() : inWorker());
