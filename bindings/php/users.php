<?php

// Prints the names of the users of a OneAccess tenant.

declare(strict_types=1);

require __DIR__ . '/oneaccess.php';

/** Calls a management API. If it rejects the token, tries once more with a new one. */
function call(OneAccess\Client $client, string $url, int $attempts = 2): array
{
    $token = $client->getToken();
    $context = stream_context_create([
        'http' => ['header' => "Authorization: {$token->authorization()}", 'ignore_errors' => true],
        'ssl' => array_filter(['cafile' => getenv('ONEACCESS_CA_FILE')]),
    ]);
    $stream = fopen($url, 'r', context: $context);
    $body = stream_get_contents($stream);
    $status = (int) explode(' ', stream_get_meta_data($stream)['wrapper_data'][0])[1];
    if ($status === 200) {
        return json_decode($body, associative: true);
    }
    $rejected = $status === 401 || $status === 400 && str_contains($body, 'invalid_token');
    if (!$rejected || $attempts === 1) {
        throw new RuntimeException("HTTP $status from $url");
    }
    $client->reject($token);
    return call($client, $url, $attempts - 1);
}

$client = OneAccess\Client::fromEnv();
$url = getenv('ONEACCESS_ENDPOINT') . '/api/v2/tenant/users';
foreach (call($client, $url)['users'] as $user) {
    echo $user['user_name'], "\n";
}
