<?php
// Counts the users of a OneAccess tenant, in this process and its children.

declare(strict_types=1);

require __DIR__ . '/oneaccess.php';

// Calls a management API; replaces a token that it no longer accepts.
function get(OneAccess\Client $client, string $url, int $attempts = 2): array
{
    $token = $client->token();
    $context = stream_context_create([
        'http' => ['header' => "Authorization: $token->authorization", 'ignore_errors' => true],
        'ssl' => array_filter(['cafile' => getenv('ONEACCESS_CA_FILE')]),
    ]);
    $body = file_get_contents($url, false, $context);
    $status = (int) explode(' ', $http_response_header[0])[1];
    if ($status === 200) {
        return json_decode($body, true);
    }
    $expired = $status === 401 || $status === 400 && str_contains($body, 'invalid_token');
    if (!$expired || $attempts === 1) {
        throw new RuntimeException("HTTP $status from $url");
    }
    $client->reject($token);
    return get($client, $url, $attempts - 1);
}

function count_users(OneAccess\Client $client): int
{
    return get($client, getenv('ONEACCESS_TENANT_USERS_URL'))['total'];
}

function in_children(OneAccess\Client $client): array
{
    for ($i = 0; $i < 4; $i++) {
        if (pcntl_fork() === 0) {
            exit(count_users($client));
        }
    }
    $totals = [];
    while (pcntl_wait($status) > 0) {
        $totals[] = pcntl_wexitstatus($status);
    }
    return $totals;
}

function show_error(string $client_id): void
{
    try {
        $endpoint = getenv('ONEACCESS_ENDPOINT');
        $client = new OneAccess\Client($endpoint, $client_id, 'wrong', getenv('ONEACCESS_CA_FILE'));
        $client->token();
    } catch (OneAccess\Error $why) {
        $message = $why->getMessage();
        echo "kind $why->kind, HTTP $why->httpStatus, $why->vendorCode: $message\n";
    }
}

function main(): void
{
    $client = new OneAccess\Client();
    echo implode(' ', ['users:', count_users($client), ...in_children($client)]), "\n";
}

main();
show_error(getenv('ONEACCESS_CLIENT_ID'));
show_error('disabled-application');
echo "ok\n";
