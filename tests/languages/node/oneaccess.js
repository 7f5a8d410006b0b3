// Access tokens of Huawei Cloud OneAccess, kept fresh by liboneaccess.
'use strict';

const { promisify } = require('node:util');
const koffi = require('koffi');

// Before any library is loaded. The default of 128 KiB leaves a TLS handshake little room.
koffi.config({ async_stack_size: 1 << 20 });
const library = koffi.load('liboneaccess.so.0');
const configFromEnv = library.func('void *oneaccess_config_new_from_env()');
const configNew = library.func('void *oneaccess_config_new(str endpoint, str client_id, str client_secret)');
const configSet = library.func('void oneaccess_config_set(void *config, str name, str value)');
const configFree = library.func('void oneaccess_config_free(void *config)');
const clientNew = library.func('void *oneaccess_client_new(void *config, _Out_ void **client)');
const clientGetToken = library.func('void *oneaccess_client_get_token(void *client, _Out_ void **token)');
const clientGetCachedToken = library.func('void *oneaccess_client_get_cached_token(void *client)');
const clientRefreshInMs = library.func('int64_t oneaccess_client_refresh_in_ms(void *client)');
const clientRejectToken = library.func('void oneaccess_client_reject_token(void *client, str token)');
const clientClose = library.func('void oneaccess_client_close(void *client)');
const clientFree = library.func('void oneaccess_client_free(void *client)');
const tokenAccessToken = library.func('str oneaccess_token_access_token(void *token)');
const tokenAuthorization = library.func('str oneaccess_token_authorization(void *token)');
const tokenExpiresAt = library.func('int64_t oneaccess_token_expires_at(void *token)');
const tokenFree = library.func('void oneaccess_token_free(void *token)');
const errorKind = library.func('int32_t oneaccess_error_kind(void *error)');
const errorHttpStatus = library.func('int32_t oneaccess_error_http_status(void *error)');
const errorVendorCode = library.func('str oneaccess_error_vendor_code(void *error)');
const errorMessage = library.func('str oneaccess_error_message(void *error)');
const errorIsRetryable = library.func('int32_t oneaccess_error_is_retryable(void *error)');
const errorFree = library.func('void oneaccess_error_free(void *error)');
const askForToken = promisify(clientGetToken.async);

const DENIED = 7; // a kind of error; all of them are in oneaccess.h

class OneAccessError extends Error {}

function check(error) {
  if (!error) return;
  const thrown = Object.assign(new OneAccessError(errorMessage(error)), {
    kind: errorKind(error),
    httpStatus: errorHttpStatus(error),
    vendorCode: errorVendorCode(error),
    isRetryable: errorIsRetryable(error) !== 0,
  });
  errorFree(error);
  throw thrown;
}

class Token {
  #accessToken; // not to be seen in logs
  #authorization;

  constructor(handle) {
    this.#accessToken = tokenAccessToken(handle);
    this.#authorization = tokenAuthorization(handle);
    this.expiresAt = tokenExpiresAt(handle); // Unix time; to show, not to decide
    tokenFree(handle);
  }

  get accessToken() { return this.#accessToken; }
  get authorization() { return this.#authorization; } // "Bearer ...", ready for the header
}

// Of clients that nobody closed.
const forgotten = new FinalizationRegistry(clientFree);

class Client {
  #handle;
  #call = null; // under way

  /** Without an endpoint: from the environment, ONEACCESS_ENDPOINT and so on. */
  constructor({ endpoint, clientId, clientSecret, caFile } = {}) {
    const config = endpoint ? configNew(endpoint, clientId, clientSecret) : configFromEnv();
    const client = [null];
    try {
      if (caFile) configSet(config, 'ca_file', caFile);
      check(clientNew(config, client));
    } finally {
      configFree(config);
    }
    this.#handle = client[0];
    forgotten.register(this, this.#handle, this);
  }

  /** Call it before every use. At most one call at a time leaves the event loop, for everybody. */
  async getToken() {
    const cached = clientGetCachedToken(this.#handle);
    if (!cached || clientRefreshInMs(this.#handle) === 0) {
      this.#call ??= this.#ask().finally(() => { this.#call = null; });
      this.#call.catch(() => {}); // whoever has no token hears of it
    }
    return cached ? new Token(cached) : this.#call;
  }

  async #ask() {
    const token = [null];
    check(await askForToken(this.#handle, token));
    return new Token(token[0]);
  }

  /** A management API did not accept this token. */
  reject(token) {
    clientRejectToken(this.#handle, token.accessToken);
  }

  /** Ends all calls and frees the client after the last one. */
  async close() {
    const handle = this.#handle;
    this.#handle = null;
    forgotten.unregister(this);
    clientClose(handle);
    await this.#call?.catch(() => {});
    clientFree(handle);
  }
}

module.exports = { Client, Token, OneAccessError, DENIED };
