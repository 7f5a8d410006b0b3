<?php
// Access tokens of Huawei Cloud OneAccess, kept fresh by liboneaccess.

declare(strict_types=1);

namespace OneAccess;

use FFI;
use FFI\CData;

const DENIED = 7; // a kind of error; all of them are in oneaccess.h

function library(): FFI
{
    static $library = null;
    return $library ??= FFI::cdef('
        typedef struct oneaccess_client oneaccess_client;
        typedef struct oneaccess_config oneaccess_config;
        typedef struct oneaccess_error oneaccess_error;
        typedef struct oneaccess_token oneaccess_token;
        oneaccess_config *oneaccess_config_new(const char *, const char *, const char *);
        oneaccess_config *oneaccess_config_new_from_env(void);
        void oneaccess_config_set(oneaccess_config *, const char *, const char *);
        void oneaccess_config_free(oneaccess_config *);
        oneaccess_error *oneaccess_client_new(const oneaccess_config *, oneaccess_client **);
        oneaccess_error *oneaccess_client_get_token(const oneaccess_client *, oneaccess_token **);
        void oneaccess_client_reject_token(const oneaccess_client *, const char *);
        void oneaccess_client_free(oneaccess_client *);
        const char *oneaccess_token_access_token(const oneaccess_token *);
        const char *oneaccess_token_authorization(const oneaccess_token *);
        int64_t oneaccess_token_expires_at(const oneaccess_token *);
        void oneaccess_token_free(oneaccess_token *);
        int32_t oneaccess_error_kind(const oneaccess_error *);
        int32_t oneaccess_error_http_status(const oneaccess_error *);
        const char *oneaccess_error_vendor_code(const oneaccess_error *);
        const char *oneaccess_error_message(const oneaccess_error *);
        int32_t oneaccess_error_is_retryable(const oneaccess_error *);
        void oneaccess_error_free(oneaccess_error *);
    ', 'liboneaccess.so.0');
}

/** Why there is no token. */
final class Error extends \RuntimeException
{
    public readonly int $kind;
    public readonly int $httpStatus;
    public readonly ?string $vendorCode;
    public readonly bool $isRetryable;

    private function __construct(FFI $library, CData $error)
    {
        parent::__construct($library->oneaccess_error_message($error));
        $this->kind = $library->oneaccess_error_kind($error);
        $this->httpStatus = $library->oneaccess_error_http_status($error);
        $this->vendorCode = $library->oneaccess_error_vendor_code($error);
        $this->isRetryable = $library->oneaccess_error_is_retryable($error) !== 0;
    }

    public static function check(FFI $library, ?CData $error): void
    {
        if ($error !== null) {
            try {
                throw new self($library, $error);
            } finally {
                $library->oneaccess_error_free($error);
            }
        }
    }
}

/** A copy: there is nothing to free. */
final class Token
{
    public function __construct(
        #[\SensitiveParameter] public readonly string $accessToken,
        #[\SensitiveParameter] public readonly string $authorization, // "Bearer ...", for the header
        public readonly int $expiresAt, // Unix time; to show, not to decide
    ) {
    }

    /** Keeps the token out of var_dump(). */
    public function __debugInfo(): array
    {
        return ['expiresAt' => $this->expiresAt];
    }
}

final class Client
{
    private FFI $library;
    private CData $handle;

    /** Without an endpoint: from the environment, ONEACCESS_ENDPOINT and so on. */
    public function __construct(
        ?string $endpoint = null,
        ?string $clientId = null,
        #[\SensitiveParameter] ?string $clientSecret = null,
        ?string $caFile = null,
    ) {
        $this->library = library();
        $config = $endpoint === null
            ? $this->library->oneaccess_config_new_from_env()
            : $this->library->oneaccess_config_new($endpoint, $clientId, $clientSecret);
        if ($caFile !== null) {
            $this->library->oneaccess_config_set($config, 'ca_file', $caFile);
        }
        $client = $this->library->new('oneaccess_client *');
        $error = $this->library->oneaccess_client_new($config, FFI::addr($client));
        $this->library->oneaccess_config_free($config);
        Error::check($this->library, $error);
        $this->handle = $client;
    }

    private function __clone()
    {
    }

    public function __destruct()
    {
        if (isset($this->handle)) {
            $this->library->oneaccess_client_free($this->handle);
        }
    }

    /** Call it before every use. Blocks about once in a token's life. */
    public function token(): Token
    {
        $token = $this->library->new('oneaccess_token *');
        $error = $this->library->oneaccess_client_get_token($this->handle, FFI::addr($token));
        Error::check($this->library, $error);
        try {
            return new Token(
                $this->library->oneaccess_token_access_token($token),
                $this->library->oneaccess_token_authorization($token),
                $this->library->oneaccess_token_expires_at($token),
            );
        } finally {
            $this->library->oneaccess_token_free($token);
        }
    }

    /** A management API did not accept this token. */
    public function reject(Token $token): void
    {
        $this->library->oneaccess_client_reject_token($this->handle, $token->accessToken);
    }
}
