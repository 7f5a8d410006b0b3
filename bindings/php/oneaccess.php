<?php

/**
 * Access tokens of Huawei Cloud OneAccess (Bamboocloud), kept fresh.
 *
 *     $client = OneAccess\Client::fromEnv();     // one for the whole process
 *     $token = $client->getToken();              // before every use
 *     $header = "Authorization: {$token->authorization()}";
 */

declare(strict_types=1);

namespace OneAccess;

use FFI;
use FFI\CData;
use SensitiveParameter;
use SensitiveParameterValue;

/** What failed. The library's README says what to do about each kind. */
enum Kind: int
{
    case Argument = 1;
    case Config = 2;
    case Transport = 3;
    case Proxy = 4;
    case Tls = 5;
    case Timeout = 6;
    case Denied = 7;
    case Throttled = 8;
    case Server = 9;
    case Protocol = 10;
    case Closed = 11;
    case Internal = 12;
}

/** A call failed. The message is one line that says what to do; it contains no secret. */
final class Error extends \RuntimeException
{
    /**
     * @param Kind|int    $kind         a number if it comes from a newer library
     * @param int         $httpStatus   0 if there was no response
     * @param string|null $vendorCode   error_code of OneAccess, or the OAuth error
     * @param bool        $isRetryable  the same request may succeed later without any change
     * @param bool        $isRemembered from an earlier request; this call sent none
     * @param int         $occurredAt   Unix time
     * @param float       $retryAfter   seconds until a retry made sense when this was thrown; 0 if
     *                                  unknown
     */
    public function __construct(
        string $message,
        public readonly Kind|int $kind,
        public readonly int $httpStatus = 0,
        public readonly ?string $vendorCode = null,
        public readonly bool $isRetryable = false,
        public readonly bool $isRemembered = false,
        public readonly int $occurredAt = 0,
        public readonly float $retryAfter = 0.0,
    ) {
        parent::__construct($message);
    }
}

/** An access token. Immutable; cannot be serialized. */
final class Token
{
    private readonly SensitiveParameterValue $accessToken;
    private readonly SensitiveParameterValue $authorization;
    private readonly SensitiveParameterValue $idToken;

    public function __construct(
        #[SensitiveParameter] string $accessToken,
        #[SensitiveParameter] string $authorization,
        private readonly int $expiresAt,
        private readonly string $tokenType = 'Bearer',
        private readonly ?string $scope = null,
        #[SensitiveParameter] ?string $idToken = null,
    ) {
        $this->accessToken = new SensitiveParameterValue($accessToken);
        $this->authorization = new SensitiveParameterValue($authorization);
        $this->idToken = new SensitiveParameterValue($idToken);
    }

    public function accessToken(): string
    {
        return $this->accessToken->getValue();
    }

    /** "Bearer ...", the value of the header. */
    public function authorization(): string
    {
        return $this->authorization->getValue();
    }

    public function tokenType(): string
    {
        return $this->tokenType;
    }

    /** Null if the response had none. */
    public function scope(): ?string
    {
        return $this->scope;
    }

    /** Null if the response had none. */
    public function idToken(): ?string
    {
        return $this->idToken->getValue();
    }

    /** Unix time, for display: the client decides when to refresh. */
    public function expiresAt(): int
    {
        return $this->expiresAt;
    }
}

/**
 * Gets access tokens for one application. Use one client for the whole process; on Linux a forked
 * child can continue to use it.
 */
final class Client
{
    private const STATISTICS = [
        'refreshes' => 1,
        'attempts' => 2,
        'failures' => 3,
        'waits' => 4,
        'rejections' => 5,
        'denials' => 6,
        'token_age_ms' => 7,
        'token_remaining_ms' => 8,
        'store_hits' => 9,
        'store_failures' => 10,
    ];

    private readonly CData $handle;

    /**
     * Settings are those of docs/settings.md, by name:
     * ['timeout_ms' => 5000, 'headers' => ['X-tenant-id' => '1']]. Null is the same as
     * leaving a setting out.
     *
     * @param array<string, string|int|bool|\Stringable|array<string, string>|null> $settings
     * @throws Error
     */
    public function __construct(
        ?string $endpoint,
        ?string $clientId,
        #[SensitiveParameter] ?string $clientSecret = null,
        #[SensitiveParameter] array $settings = [],
    ) {
        $this->open(Library::get()->oneaccess_config_new(
            Library::text('endpoint', $endpoint),
            Library::text('client_id', $clientId),
            Library::text('client_secret', $clientSecret),
        ), $settings);
    }

    /**
     * Reads ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID, ONEACCESS_CLIENT_SECRET and all settings from
     * the environment; the settings given here take precedence.
     *
     * @param array<string, string|int|bool|\Stringable|array<string, string>|null> $settings
     * @throws Error
     */
    public static function fromEnv(#[SensitiveParameter] array $settings = []): self
    {
        $client = (new \ReflectionClass(self::class))->newInstanceWithoutConstructor();
        $client->open(Library::get()->oneaccess_config_new_from_env(), $settings);
        return $client;
    }

    /** @param array<string, mixed> $settings */
    private function open(CData $config, #[SensitiveParameter] array $settings): void
    {
        $library = Library::get();
        try {
            foreach ($settings as $name => $value) {
                self::set($config, (string) $name, $value);
            }
            $client = $library->new('oneaccess_client *');
            Library::check($library->oneaccess_client_new($config, FFI::addr($client)));
            $this->handle = $client;
        } finally {
            $library->oneaccess_config_free($config);
        }
    }

    private static function set(
        CData $config,
        string $name,
        #[SensitiveParameter] mixed $value,
    ): void {
        $library = Library::get();
        if ($name === 'headers' && is_array($value)) {
            // Removes those from the environment.
            $library->oneaccess_config_set($config, 'headers', null);
            foreach ($value as $header => $text) {
                if (is_int($header)) {
                    throw new \TypeError('headers must be an array of name => value');
                }
                $header = Library::text($name, $header);
                $text = Library::text($name, $text);
                $library->oneaccess_config_add_header($config, $header, $text);
            }
        } elseif ($value !== null) {
            $value = Library::text($name, $value);
            $library->oneaccess_config_set($config, Library::text('a setting', $name), $value);
        }
    }

    public function __destruct()
    {
        if (isset($this->handle)) {
            Library::get()->oneaccess_client_free($this->handle);
        }
    }

    /** Two objects would free one handle. */
    private function __clone()
    {
    }

    /**
     * A valid token; call it before each use. Usually it comes from memory. Otherwise the call
     * blocks.
     *
     * @param float|null $timeout seconds; null: the setting timeout_ms; 0: sends no request
     * @throws Error if there is no valid token
     */
    public function getToken(?float $timeout = null): Token
    {
        $library = Library::get();
        $token = $library->new('oneaccess_token *');
        if ($timeout === null) {
            $error = $library->oneaccess_client_get_token($this->handle, FFI::addr($token));
        } else {
            $error = $library->oneaccess_client_get_token_within(
                $this->handle,
                Library::milliseconds($timeout),
                FFI::addr($token),
            );
        }
        Library::check($error);
        return Library::takeToken($token);
    }

    /** The token in memory if it is usable. Never waits and never sends a request. */
    public function cachedToken(): ?Token
    {
        $token = Library::get()->oneaccess_client_get_cached_token($this->handle);
        return $token === null ? null : Library::takeToken($token);
    }

    /** Seconds until getToken should be called to refresh the token; null: never, closed. */
    public function refreshIn(): ?float
    {
        $milliseconds = Library::get()->oneaccess_client_refresh_in_ms($this->handle);
        return $milliseconds < 0 ? null : $milliseconds / 1000;
    }

    /**
     * Reports that a management API rejected this token, or access token: HTTP 401, or HTTP 400
     * with `invalid_token` in the body. The next getToken requests a new one.
     */
    public function reject(#[SensitiveParameter] Token|string $token): void
    {
        $accessToken = $token instanceof Token ? $token->accessToken() : $token;
        Library::get()->oneaccess_client_reject_token(
            $this->handle,
            Library::text('access_token', $accessToken),
        );
    }

    /**
     * Uses this secret for all further requests. The current token is kept.
     *
     * @throws Error
     */
    public function setClientSecret(#[SensitiveParameter] string $clientSecret): void
    {
        Library::check(Library::get()->oneaccess_client_set_client_secret(
            $this->handle,
            Library::text('client_secret', $clientSecret),
        ));
    }

    /**
     * The ONEACCESS_STAT_* numbers of oneaccess.h, of this client in this process.
     *
     * @return array<string, int>
     */
    public function statistics(): array
    {
        $number = fn (int $stat) => Library::get()->oneaccess_client_stat($this->handle, $stat);
        return array_map($number, self::STATISTICS);
    }

    /**
     * Why the last request failed, also if no call reported it because the token was still valid.
     * Null if it succeeded.
     */
    public function lastError(): ?Error
    {
        $error = Library::get()->oneaccess_client_get_last_error($this->handle);
        return $error === null ? null : Library::takeError($error);
    }

    /**
     * The last failure of the shared store (setting store), however long ago. Null if there was
     * none. No call reports it: the call goes on without the store.
     */
    public function lastStoreError(): ?Error
    {
        $error = Library::get()->oneaccess_client_get_last_store_error($this->handle);
        return $error === null ? null : Library::takeError($error);
    }

    /** Ends the client: all later calls fail with Kind::Closed. */
    public function close(): void
    {
        Library::get()->oneaccess_client_close($this->handle);
    }
}

/** Version of the loaded library. */
function version(): string
{
    return Library::get()->oneaccess_version();
}

/**
 * The C functions, and functions that convert arguments and results.
 *
 * @internal
 */
final class Library
{
    // FFI makes a string, a copy, of a returned const char *; of NULL it makes null.
    private const DECLARATIONS = '
        typedef struct oneaccess_client oneaccess_client;
        typedef struct oneaccess_config oneaccess_config;
        typedef struct oneaccess_error oneaccess_error;
        typedef struct oneaccess_token oneaccess_token;
        const char *oneaccess_version(void);
        oneaccess_config *oneaccess_config_new(const char *, const char *, const char *);
        oneaccess_config *oneaccess_config_new_from_env(void);
        void oneaccess_config_set(oneaccess_config *, const char *, const char *);
        void oneaccess_config_add_header(oneaccess_config *, const char *, const char *);
        void oneaccess_config_free(oneaccess_config *);
        oneaccess_error *oneaccess_client_new(const oneaccess_config *, oneaccess_client **);
        oneaccess_error *oneaccess_client_get_token(const oneaccess_client *, oneaccess_token **);
        oneaccess_error *oneaccess_client_get_token_within(
            const oneaccess_client *, int64_t, oneaccess_token **);
        oneaccess_token *oneaccess_client_get_cached_token(const oneaccess_client *);
        int64_t oneaccess_client_refresh_in_ms(const oneaccess_client *);
        void oneaccess_client_reject_token(const oneaccess_client *, const char *);
        oneaccess_error *oneaccess_client_set_client_secret(const oneaccess_client *, const char *);
        int64_t oneaccess_client_stat(const oneaccess_client *, int32_t);
        oneaccess_error *oneaccess_client_get_last_error(const oneaccess_client *);
        oneaccess_error *oneaccess_client_get_last_store_error(const oneaccess_client *);
        void oneaccess_client_close(const oneaccess_client *);
        void oneaccess_client_free(oneaccess_client *);
        const char *oneaccess_token_access_token(const oneaccess_token *);
        const char *oneaccess_token_authorization(const oneaccess_token *);
        const char *oneaccess_token_token_type(const oneaccess_token *);
        const char *oneaccess_token_scope(const oneaccess_token *);
        const char *oneaccess_token_id_token(const oneaccess_token *);
        int64_t oneaccess_token_expires_at(const oneaccess_token *);
        void oneaccess_token_free(oneaccess_token *);
        int32_t oneaccess_error_kind(const oneaccess_error *);
        int32_t oneaccess_error_http_status(const oneaccess_error *);
        const char *oneaccess_error_vendor_code(const oneaccess_error *);
        const char *oneaccess_error_message(const oneaccess_error *);
        int32_t oneaccess_error_is_retryable(const oneaccess_error *);
        int32_t oneaccess_error_is_remembered(const oneaccess_error *);
        int64_t oneaccess_error_occurred_at(const oneaccess_error *);
        int64_t oneaccess_error_retry_after_ms(const oneaccess_error *);
        void oneaccess_error_free(oneaccess_error *);
    ';

    private static ?FFI $library = null;

    /** One for all, since types belong to the FFI object that declared them. */
    public static function get(): FFI
    {
        return self::$library ??= self::load();
    }

    private static function load(): FFI
    {
        $name = match (PHP_OS_FAMILY) {
            'Darwin' => 'liboneaccess.0.dylib',
            'Windows' => 'oneaccess.dll',
            default => 'liboneaccess.so.0',
        };
        $packaged = __DIR__ . DIRECTORY_SEPARATOR . $name;
        $path = getenv('ONEACCESS_LIBRARY') ?: (is_file($packaged) ? $packaged : $name);
        try {
            return FFI::cdef(self::DECLARATIONS, $path);
        } catch (FFI\Exception $exception) {
            $why = $exception->getMessage();
            throw new \RuntimeException(
                "cannot load the oneaccess library: $why; install it, or set ONEACCESS_LIBRARY to its "
                    . 'path',
                previous: $exception,
            );
        }
    }

    /** An argument as the library wants it. */
    public static function text(string $name, #[SensitiveParameter] mixed $value): ?string
    {
        if ($value === null) {
            return null;
        }
        if (is_bool($value)) {
            return $value ? 'true' : 'false';
        }
        if (!is_string($value) && !is_int($value) && !$value instanceof \Stringable) {
            $type = get_debug_type($value);
            throw new \TypeError("$name must be a string, int, bool or Stringable, not $type");
        }
        $text = (string) $value;
        if (str_contains($text, "\0")) {
            throw new \ValueError("$name must not contain a NUL character");
        }
        return $text;
    }

    public static function milliseconds(float $seconds): int
    {
        // INF and NAN cannot be cast: the library counts more than a day as a day, and refuses -1.
        return $seconds >= 0 ? (int) ceil(min($seconds, 86400) * 1000) : -1;
    }

    /** @throws Error */
    public static function check(?CData $error): void
    {
        if ($error !== null) {
            throw self::takeError($error);
        }
    }

    public static function takeToken(CData $token): Token
    {
        $library = self::get();
        try {
            return new Token(
                $library->oneaccess_token_access_token($token),
                $library->oneaccess_token_authorization($token),
                $library->oneaccess_token_expires_at($token),
                $library->oneaccess_token_token_type($token),
                $library->oneaccess_token_scope($token),
                $library->oneaccess_token_id_token($token),
            );
        } finally {
            $library->oneaccess_token_free($token);
        }
    }

    public static function takeError(CData $error): Error
    {
        $library = self::get();
        try {
            $kind = $library->oneaccess_error_kind($error);
            return new Error(
                $library->oneaccess_error_message($error),
                Kind::tryFrom($kind) ?? $kind,
                $library->oneaccess_error_http_status($error),
                $library->oneaccess_error_vendor_code($error),
                $library->oneaccess_error_is_retryable($error) !== 0,
                $library->oneaccess_error_is_remembered($error) !== 0,
                $library->oneaccess_error_occurred_at($error),
                $library->oneaccess_error_retry_after_ms($error) / 1000,
            );
        } finally {
            $library->oneaccess_error_free($error);
        }
    }
}
