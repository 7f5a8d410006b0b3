<?php

// Checks the wrapper. Prints one line per check: those that tests/bindings.rs expects.

declare(strict_types=1);

require __DIR__ . '/oneaccess.php';

use OneAccess\Client;
use OneAccess\Error;
use OneAccess\Kind;

define('ENDPOINT', getenv('ONEACCESS_ENDPOINT'));
define('ID', getenv('ONEACCESS_CLIENT_ID'));
define('SECRET', getenv('ONEACCESS_CLIENT_SECRET'));
define('CA_FILE', getenv('ONEACCESS_CA_FILE'));

function check(string $name, bool $passed): void
{
    echo $passed ? 'ok' : 'FAILED', " $name\n";
}

function failure(callable $call): ?Error
{
    try {
        $call();
    } catch (Error $error) {
        return $error;
    }
    return null;
}

function refused(string $class, string $name, callable $call): bool
{
    try {
        $call();
    } catch (Throwable $error) {
        return $error instanceof $class && str_contains($error->getMessage(), $name);
    }
    return false;
}

function check_settings(): void
{
    // The environment has everything, but must not complete explicit credentials.
    $error = failure(fn () => new Client(null, ID, SECRET));
    check('no endpoint', $error->kind === Kind::Argument);
    check('no secret', failure(fn () => new Client(ENDPOINT, ID))->kind === Kind::Argument);
    $error = failure(fn () => new Client(ENDPOINT, ID, SECRET, ['timeout' => 5]));
    $named = str_contains($error->getMessage(), 'timeout_ms');
    check('unknown setting', $error->kind === Kind::Config && $named);
    $error = failure(fn () => new Client(ENDPOINT, ID, SECRET, ['timeout_ms' => 0]));
    $list = fn () => new Client(ENDPOINT, ID, SECRET, ['proxy' => ['a' => 'b']]);
    check('bad value', $error->kind === Kind::Config && refused(TypeError::class, 'proxy', $list));
    $path = fn () => new Client(ENDPOINT, ID, SECRET, ['ca_file' => "a\0b"]);
    check('NUL character', refused(ValueError::class, 'ca_file', $path));
    $header = ['X' => "1\r\nY: 2"];
    $lineBreak = failure(fn () => new Client(ENDPOINT, ID, SECRET, ['headers' => $header]));
    $lines = fn () => new Client(ENDPOINT, ID, SECRET, ['headers' => ['X: 1']]);
    $refused = refused(TypeError::class, 'headers', $lines);
    check('headers', $lineBreak->kind === Kind::Argument && $refused);
}

function check_tokens(Client $client): void
{
    $nothing = $client->cachedToken() === null && $client->refreshIn() === 0.0;
    $timeout = failure(fn () => $client->getToken(timeout: 0))->kind === Kind::Timeout;
    $negative = failure(fn () => $client->getToken(NAN))->kind === Kind::Argument;
    check('no token yet', $nothing && $timeout && $negative);
    $token = $client->getToken();
    $words = [$token->tokenType(), $token->scope(), substr_count($token->idToken(), '.')];
    $authorization = $token->authorization() === "Bearer {$token->accessToken()}";
    $life = $token->expiresAt() - time();
    check('token', $words === ['Bearer', 'all', 2] && $authorization && $life > 0 && $life <= 1801);
    $tokens = [$client->cachedToken()->accessToken(), $client->getToken(0)->accessToken()];
    check('cached token', $tokens === [$token->accessToken(), $token->accessToken()]);
    check('refresh in', $client->refreshIn() > 0 && $client->refreshIn() < 1800);
    $client->reject($token);
    $new_token = $client->getToken()->accessToken();
    check('rejected token', $new_token !== $token->accessToken());
    $client->reject($new_token); // too early after the first rejection: ignored
    check('rejected again', $client->getToken()->accessToken() === $new_token);
    $numbers = $client->statistics();
    $times = array_splice($numbers, 6, 2);
    $expected = ['refreshes' => 2, 'attempts' => 2, 'failures' => 0, 'waits' => 0];
    $expected += ['rejections' => 1, 'denials' => 0, 'store_hits' => 0, 'store_failures' => 0];
    $times = $times['token_age_ms'] >= 0 && $times['token_remaining_ms'] > 0;
    check('statistics', $times && $numbers === $expected);
}

function check_fork(Client $client): void
{
    $token = $client->getToken()->accessToken();
    $child = pcntl_fork();
    if ($child === 0) {
        exit($client->getToken()->accessToken() === $token ? 0 : 1);
    }
    pcntl_waitpid($child, $status);
    check('forked child', $status === 0);
}

function check_errors(): void
{
    $wrong = new Client(ENDPOINT, ID, 'wrong', ['ca_file' => CA_FILE]);
    $error = failure(fn () => $wrong->getToken());
    $denied = [$error->kind, $error->httpStatus, $error->vendorCode];
    $now = time() - $error->occurredAt < 60;
    $final = !$error->isRetryable && !$error->isRemembered;
    check('denied', $denied === [Kind::Denied, 401, 'invalid_client'] && $now && $final);
    $error = failure(fn () => $wrong->getToken());
    $later = $error->retryAfter > 0 && $error->retryAfter < 3600;
    check('remembered', $error->isRemembered && $later);
    check('last error', $wrong->lastError()->kind === Kind::Denied);
    $error = failure(fn () => $wrong->setClientSecret(''));
    check('empty secret', $error->kind === Kind::Argument);
    $wrong->setClientSecret(SECRET);
    $bearer = $wrong->getToken()->tokenType() === 'Bearer';
    check('new secret', $bearer && $wrong->lastError() === null);
    $disabled = new Client(ENDPOINT, 'disabled-id', SECRET, ['ca_file' => CA_FILE]);
    $error = failure(fn () => $disabled->getToken());
    $message = str_contains($error->getMessage(), '应用已禁用');
    check('vendor code', $error->vendorCode === 'APP.0003' && $message);
}

function check_store(): void
{
    $with = fn (string $folder) => new Client(ENDPOINT, ID, SECRET, [
        'ca_file' => CA_FILE,
        'store' => "file:$folder",
    ]);
    $folder = sys_get_temp_dir() . '/oneaccess-' . bin2hex(random_bytes(8));
    mkdir($folder);
    $first = $with("$folder/store");
    $second = $with("$folder/store");
    $shared = $first->getToken()->accessToken() === $second->getToken()->accessToken();
    $numbers = $second->statistics();
    $shared = $shared && $numbers['store_hits'] === 1 && $numbers['attempts'] === 0;
    $shared = $shared && $second->lastStoreError() === null;
    array_map('unlink', glob("$folder/store/*"));
    rmdir("$folder/store");
    rmdir($folder);
    $without = $with('/nonexistent/folder');
    $bearer = $without->getToken()->tokenType() === 'Bearer';
    $numbers = $without->statistics();
    $skipped = $numbers['store_hits'] === 0 && $numbers['attempts'] === 1;
    $skipped = $skipped && $numbers['store_failures'] >= 1;
    $config = $without->lastStoreError()->kind === Kind::Config;
    check('shared store', $shared && $bearer && $skipped && $config);
}

function check_secrets(Client $client): void
{
    $token = $client->getToken();
    ini_set('zend.exception_ignore_args', '0'); // a stack trace shows arguments
    try {
        new Client(ENDPOINT, ID, SECRET, ['proxy' => "ftp://user:{$token->accessToken()}@proxy"]);
    } catch (Error $error) {
    }
    $shown = print_r([$client, $token, $error], true) . json_encode([$client, $token, $error]);
    ob_start();
    var_dump($client, $token, $error, (array) $token);
    var_export($token);
    $shown .= ob_get_clean() . $error;
    $secrets = [SECRET, $token->accessToken(), $token->idToken()];
    $hidden = array_filter($secrets, fn ($secret) => str_contains($shown, $secret)) === [];
    foreach ([$client, $token] as $object) {
        $hidden = $hidden && refused(Exception::class, '', fn () => serialize($object));
    }
    check('secrets hidden', $hidden && refused(\Error::class, '', fn () => clone $client));
}

check('version', OneAccess\version() === '0.1.0');
check_settings();
$client = new Client(ENDPOINT, ID, SECRET, [
    'ca_file' => new SplFileInfo(CA_FILE),
    'timeout_ms' => 20_000,
    'system_roots' => false,
    'client_key_file' => null,
    'headers' => ['X-Test' => 'bindings'],
]);
check_tokens($client);
check_fork($client);
check_errors();
check_store();
check_secrets($client);

$client->close();
$client->close();
$closed = $client->cachedToken() === null && $client->refreshIn() === null;
check('closed', $closed && failure(fn () => $client->getToken())->kind === Kind::Closed);
$client = Client::fromEnv(['timeout_ms' => 20_000, 'headers' => ['X-Test' => 'settings']]);
check('from the environment', $client->getToken()->tokenType() === 'Bearer');
