// Access tokens of Huawei Cloud OneAccess (Bamboocloud), kept fresh. Documented in oneaccess.d.ts.
'use strict';

const { existsSync } = require('node:fs');
const { join } = require('node:path');
const { fileURLToPath } = require('node:url');
const { inspect, promisify } = require('node:util');
const koffi = require('koffi');

const DAY_MS = 86_400_000;
const FROM_ENV = Symbol('from the environment');

const KINDS = {
  1: 'ARGUMENT',
  2: 'CONFIG',
  3: 'TRANSPORT',
  4: 'PROXY',
  5: 'TLS',
  6: 'TIMEOUT',
  7: 'DENIED',
  8: 'THROTTLED',
  9: 'SERVER',
  10: 'PROTOCOL',
  11: 'CLOSED',
  12: 'INTERNAL',
};

const STATISTICS = {
  1: 'refreshes',
  2: 'attempts',
  3: 'failures',
  4: 'waits',
  5: 'rejections',
  6: 'denials',
  7: 'tokenAgeMs',
  8: 'tokenRemainingMs',
  9: 'storeHits',
  10: 'storeFailures',
};

const library = load();
const libraryVersion = library.func('str oneaccess_version()');
const configNew = library.func(
  'void *oneaccess_config_new(str endpoint, str client_id, str client_secret)',
);
const configNewFromEnv = library.func('void *oneaccess_config_new_from_env()');
const configSet = library.func('void oneaccess_config_set(void *config, str name, str value)');
const configAddHeader = library.func(
  'void oneaccess_config_add_header(void *config, str name, str value)',
);
const configFree = library.func('void oneaccess_config_free(void *config)');
const clientNew = library.func('void *oneaccess_client_new(void *config, _Out_ void **out)');
const clientGetToken = library.func(
  'void *oneaccess_client_get_token(void *client, _Out_ void **out)',
);
const clientGetTokenWithin = library.func(
  'void *oneaccess_client_get_token_within(void *client, int64_t timeout_ms, _Out_ void **out)',
);
const clientGetCachedToken = library.func('void *oneaccess_client_get_cached_token(void *client)');
const clientRefreshInMs = library.func('int64_t oneaccess_client_refresh_in_ms(void *client)');
const clientRejectToken = library.func(
  'void oneaccess_client_reject_token(void *client, str access_token)',
);
const clientSetClientSecret = library.func(
  'void *oneaccess_client_set_client_secret(void *client, str client_secret)',
);
const clientStat = library.func('int64_t oneaccess_client_stat(void *client, int32_t stat)');
const clientGetLastError = library.func('void *oneaccess_client_get_last_error(void *client)');
const clientGetLastStoreError = library.func(
  'void *oneaccess_client_get_last_store_error(void *client)',
);
const clientClose = library.func('void oneaccess_client_close(void *client)');
const clientFree = library.func('void oneaccess_client_free(void *client)');
const tokenAccessToken = library.func('str oneaccess_token_access_token(void *token)');
const tokenAuthorization = library.func('str oneaccess_token_authorization(void *token)');
const tokenTokenType = library.func('str oneaccess_token_token_type(void *token)');
const tokenScope = library.func('str oneaccess_token_scope(void *token)');
const tokenIdToken = library.func('str oneaccess_token_id_token(void *token)');
const tokenExpiresAt = library.func('int64_t oneaccess_token_expires_at(void *token)');
const tokenFree = library.func('void oneaccess_token_free(void *token)');
const errorKind = library.func('int32_t oneaccess_error_kind(void *error)');
const errorHttpStatus = library.func('int32_t oneaccess_error_http_status(void *error)');
const errorVendorCode = library.func('str oneaccess_error_vendor_code(void *error)');
const errorMessage = library.func('str oneaccess_error_message(void *error)');
const errorIsRetryable = library.func('int32_t oneaccess_error_is_retryable(void *error)');
const errorIsRemembered = library.func('int32_t oneaccess_error_is_remembered(void *error)');
const errorOccurredAt = library.func('int64_t oneaccess_error_occurred_at(void *error)');
const errorRetryAfterMs = library.func('int64_t oneaccess_error_retry_after_ms(void *error)');
const errorFree = library.func('void oneaccess_error_free(void *error)');
const getTokenInThread = promisify(clientGetToken.async);

class OneAccessError extends Error {
  constructor(message, properties) {
    super(message);
    Object.assign(this, properties);
  }
}
// On the prototype, like the names of JavaScript's own errors.
Object.defineProperty(OneAccessError.prototype, 'name', { value: 'OneAccessError' });

class Token {
  // Private, so that neither console.log nor JSON.stringify shows them.
  #accessToken;
  #authorization;
  #idToken;

  constructor(handle) {
    this.#accessToken = tokenAccessToken(handle);
    this.#authorization = tokenAuthorization(handle);
    this.#idToken = tokenIdToken(handle);
    this.tokenType = tokenTokenType(handle);
    this.scope = tokenScope(handle);
    this.expiresAt = new Date(tokenExpiresAt(handle) * 1000);
  }

  get accessToken() {
    return this.#accessToken;
  }

  get authorization() {
    return this.#authorization;
  }

  get idToken() {
    return this.#idToken;
  }

  // With the options showHidden and getters, inspect would call the getters.
  [inspect.custom](depth, options) {
    return `Token ${inspect({ ...this }, options)}`;
  }
}

// The clients of this thread that are not freed: the handle, and the promise of a refresh in one of
// koffi's threads. A client is not garbage during a refresh, whose promise refers to it.
const clients = new Set();
const garbage = new FinalizationRegistry(free);

function free(state) {
  clients.delete(state);
  clientFree(state.handle);
  state.handle = null; // other listeners of the event exit may still use the client
}

// Node waits at exit for a refresh that is running: closing the client ends it.
process.on('exit', () => {
  for (const state of clients) {
    clientClose(state.handle);
    if (!state.refresh) free(state);
  }
});

class Client {
  #state = { handle: null, refresh: null };

  constructor(options = {}, source) {
    const { endpoint, client_id, client_secret, ...settings } = options;
    const fromEnv = source === FROM_ENV;
    const config = fromEnv
      ? configNewFromEnv()
      : configNew(
          encode('endpoint', endpoint),
          encode('client_id', client_id),
          encode('client_secret', client_secret),
        );
    try {
      set(config, fromEnv ? options : settings);
      const out = [null];
      check(clientNew(config, out));
      this.#state.handle = out[0];
    } finally {
      configFree(config);
    }
    clients.add(this.#state);
    garbage.register(this, this.#state);
  }

  static fromEnv(settings) {
    return new this(settings, FROM_ENV);
  }

  async getToken({ timeoutMs } = {}) {
    const cached = this.cachedToken();
    if (cached && this.refreshInMs() !== 0) return cached;
    const limit = milliseconds(timeoutMs);
    if (limit !== null && limit <= 0) return this.getTokenSync({ timeoutMs }); // does not wait
    const refresh = this.#refreshInThread();
    if (cached) return cached;
    return limit === null ? refresh : this.#within(limit, refresh);
  }

  #refreshInThread() {
    const state = this.#state;
    if (!state.refresh) {
      const done = () => (this.#state.refresh = null);
      state.refresh = request(state.handle).finally(done);
      state.refresh.catch(() => {}); // if no caller waits, lastError() has the error
    }
    return state.refresh;
  }

  async #within(limit, refresh) {
    let timer;
    const late = new Promise((resolve) => (timer = setTimeout(resolve, limit))).then(() =>
      this.getTokenSync({ timeoutMs: 0 }),
    );
    try {
      return await Promise.race([refresh, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  getTokenSync({ timeoutMs } = {}) {
    const limit = milliseconds(timeoutMs);
    const out = [null];
    if (limit === null) check(clientGetToken(this.#state.handle, out));
    else check(clientGetTokenWithin(this.#state.handle, limit, out));
    return takeToken(out[0]);
  }

  cachedToken() {
    const token = clientGetCachedToken(this.#state.handle);
    return token && takeToken(token);
  }

  refreshInMs() {
    const due = clientRefreshInMs(this.#state.handle);
    return due < 0 ? null : due;
  }

  reject(token) {
    const accessToken = token instanceof Token ? token.accessToken : token;
    clientRejectToken(this.#state.handle, encode('the token', accessToken));
  }

  setClientSecret(clientSecret) {
    check(clientSetClientSecret(this.#state.handle, encode('the client secret', clientSecret)));
  }

  statistics() {
    const number = ([stat, name]) => [name, clientStat(this.#state.handle, Number(stat))];
    return Object.fromEntries(Object.entries(STATISTICS).map(number));
  }

  lastError() {
    const error = clientGetLastError(this.#state.handle);
    return error && takeError(error);
  }

  lastStoreError() {
    const error = clientGetLastStoreError(this.#state.handle);
    return error && takeError(error);
  }

  close() {
    clientClose(this.#state.handle);
  }
}

function version() {
  return libraryVersion();
}

async function request(client) {
  const out = [null];
  check(await getTokenInThread(client, out));
  return takeToken(out[0]);
}

function set(config, settings) {
  for (const [name, value] of Object.entries(settings)) {
    if (value === null || value === undefined) continue;
    if (name === 'headers' && typeof value === 'object') {
      configSet(config, name, null); // removes those from the environment
      for (const [header, text] of pairs(name, value)) {
        configAddHeader(config, encode(name, header), encode(name, text));
      }
    } else {
      configSet(config, encode('the name of a setting', name), encode(name, value));
    }
  }
}

function pairs(name, value) {
  const isPlain = [Object.prototype, null].includes(Object.getPrototypeOf(value));
  const entries = Symbol.iterator in value ? [...value] : isPlain && Object.entries(value);
  if (!entries || !entries.every(Array.isArray)) {
    throw new TypeError(`${name} must be a string, an object or pairs of a name and a value`);
  }
  return entries;
}

function encode(name, value) {
  if (value === null || value === undefined) return null;
  if (value instanceof URL) {
    value = value.protocol === 'file:' ? fileURLToPath(value) : value.href;
  } else if (
    !['string', 'boolean', 'bigint'].includes(typeof value) &&
    !Number.isSafeInteger(value)
  ) {
    throw new TypeError(`${name} must be a string, a whole number, a boolean or a URL`);
  }
  const text = String(value);
  if (text.includes('\0')) throw new TypeError(`${name} must not contain a NUL character`);
  if (/\p{Surrogate}/u.test(text)) throw new TypeError(`${name} is not valid Unicode`);
  return text;
}

function milliseconds(timeoutMs) {
  if (timeoutMs === null || timeoutMs === undefined) return null;
  if (typeof timeoutMs !== 'number' || Number.isNaN(timeoutMs)) {
    throw new TypeError('timeoutMs must be a number');
  }
  return Math.max(-1, Math.min(Math.ceil(timeoutMs), DAY_MS));
}

function takeToken(handle) {
  try {
    return new Token(handle);
  } finally {
    tokenFree(handle);
  }
}

function takeError(handle) {
  try {
    const code = errorKind(handle);
    return new OneAccessError(errorMessage(handle), {
      kind: KINDS[code] ?? 'UNKNOWN',
      code,
      httpStatus: errorHttpStatus(handle),
      vendorCode: errorVendorCode(handle),
      isRetryable: errorIsRetryable(handle) !== 0,
      isRemembered: errorIsRemembered(handle) !== 0,
      occurredAt: new Date(errorOccurredAt(handle) * 1000),
      retryAfterMs: errorRetryAfterMs(handle),
    });
  } finally {
    errorFree(handle);
  }
}

function check(error) {
  if (error) throw takeError(error);
}

function load() {
  try {
    // A request takes 50 KiB of stack, 130 with a debug build of the library. koffi has 128.
    koffi.config({ async_stack_size: 1 << 20 });
  } catch {
    // Another package has loaded a library through koffi already. A release build needs no more.
  }
  const names = { darwin: 'liboneaccess.0.dylib', win32: 'oneaccess.dll' };
  const name = names[process.platform] ?? 'liboneaccess.so.0';
  const packaged = join(__dirname, name);
  const path = process.env.ONEACCESS_LIBRARY || (existsSync(packaged) ? packaged : name);
  try {
    return koffi.load(path);
  } catch (cause) {
    const what = `cannot load the oneaccess library ${path}: ${cause.message}`;
    throw new Error(`${what}; install it, or set ONEACCESS_LIBRARY to its path`, { cause });
  }
}

module.exports = { Client, Token, OneAccessError, version };
