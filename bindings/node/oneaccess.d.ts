/** A setting of docs/settings.md. null and undefined are the same as leaving it out; a URL with
 * `file:` is a path. */
export type Setting = string | number | bigint | boolean | URL | null | undefined;

/** Settings by the names of docs/settings.md: `timeout_ms`, `ca_file`, `proxy` and so on. */
export interface Settings {
  /** Headers for every request, for example `{ 'X-tenant-id': '1' }`. */
  headers?: string | Record<string, string> | Iterable<[string, string]> | null;
  [name: string]: Setting | Record<string, string> | Iterable<[string, string]>;
}

export interface ClientOptions extends Settings {
  endpoint: string | URL;
  client_id: string;
  /** May be left out if there is the setting `client_secret_file`. */
  client_secret?: string | null;
}

export interface TokenOptions {
  /** How long to wait at most, in milliseconds; 0: neither waits nor sends a request. Default: the
   * setting `timeout_ms`. */
  timeoutMs?: number | null;
}

/** Gets access tokens for one application and keeps them fresh. Make one for each application in
 * each thread: a `Worker` makes its own. */
export class Client {
  /** Reads no ONEACCESS_ variables. Reads the files that the settings name; sends no request. */
  constructor(options: ClientOptions);

  /** Reads ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID, ONEACCESS_CLIENT_SECRET and all settings from
   * the environment; `settings` take precedence. */
  static fromEnv(settings?: Settings): Client;

  /** A valid token; call it before each use. Never blocks the event loop: a token in memory is
   * given at once, and if it is due to be refreshed, that happens in the background. Without a
   * token all callers wait for one request, whose own limit is the setting `timeout_ms`. Rejects
   * with an {@link OneAccessError}. */
  getToken(options?: TokenOptions): Promise<Token>;

  /** Like getToken, but blocks the thread while it requests a token: for scripts. */
  getTokenSync(options?: TokenOptions): Token;

  /** The token in memory if it is usable. Never waits and never sends a request. */
  cachedToken(): Token | null;

  /** Milliseconds until getToken should be called to refresh the token; null: never, the client is
   * closed. */
  refreshInMs(): number | null;

  /** Reports that a management API rejected this token: HTTP 401, or HTTP 400 with `invalid_token`
   * in the body. The next getToken requests a new one. */
  reject(token: Token | string): void;

  /** Uses this secret for all further requests. The current token is kept. */
  setClientSecret(clientSecret: string): void;

  /** The ONEACCESS_STAT_* numbers of oneaccess.h, of this client. */
  statistics(): Statistics;

  /** Why the last request failed, also if no call reported it because the token was still valid;
   * null if it succeeded. */
  lastError(): OneAccessError | null;

  /** The last failure of the shared store (setting `store`), however long ago; null if there was
   * none. No call reports it: the call goes on without the store. */
  lastStoreError(): OneAccessError | null;

  /** Ends all calls, running and future ones, with CLOSED. */
  close(): void;
}

/** An access token. console.log and JSON.stringify do not show its secret parts. */
export class Token {
  private constructor();
  readonly accessToken: string;
  /** `Bearer ...`, the value of the header. */
  readonly authorization: string;
  readonly tokenType: string;
  readonly scope: string | null;
  readonly idToken: string | null;
  /** For display only: the client decides when to refresh the token. */
  readonly expiresAt: Date;
}

/** What failed. The README of the library says what to do about each kind. UNKNOWN: a newer
 * library has a kind that this version of the package does not know. */
export type Kind =
  | 'ARGUMENT'
  | 'CONFIG'
  | 'TRANSPORT'
  | 'PROXY'
  | 'TLS'
  | 'TIMEOUT'
  | 'DENIED'
  | 'THROTTLED'
  | 'SERVER'
  | 'PROTOCOL'
  | 'CLOSED'
  | 'INTERNAL'
  | 'UNKNOWN';

/** A call failed. The message is one line that says what to do; it contains no secret. */
export class OneAccessError extends Error {
  private constructor();
  readonly kind: Kind;
  /** The ONEACCESS_ERROR_* number of `kind`. */
  readonly code: number;
  /** 0 if there was no response. */
  readonly httpStatus: number;
  /** error_code of OneAccess, or the OAuth error. */
  readonly vendorCode: string | null;
  /** Whether the call may succeed later without any change. */
  readonly isRetryable: boolean;
  /** From an earlier request; this call sent none. */
  readonly isRemembered: boolean;
  readonly occurredAt: Date;
  /** Milliseconds until a retry makes sense, when thrown; 0 if unknown. */
  readonly retryAfterMs: number;
}

export interface Statistics {
  readonly refreshes: number;
  readonly attempts: number;
  readonly failures: number;
  readonly waits: number;
  readonly rejections: number;
  readonly denials: number;
  /** -1 if there is no token. */
  readonly tokenAgeMs: number;
  /** -1 if there is no token. */
  readonly tokenRemainingMs: number;
  readonly storeHits: number;
  readonly storeFailures: number;
}

/** Version of the loaded library. */
export function version(): string;
