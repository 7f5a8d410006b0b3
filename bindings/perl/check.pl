# Checks the wrapper. Prints one line per check: those that tests/bindings.rs expects.
use strict;
use warnings;
use utf8;
use Carp ();
use Data::Dumper;
use File::Temp ();
use JSON::PP   ();
use OneAccess;
use POSIX    ();
use Storable ();

my ($ENDPOINT, $ID, $SECRET, $CA_FILE) =
    @ENV{ map { "ONEACCESS_$_" } qw(ENDPOINT CLIENT_ID CLIENT_SECRET CA_FILE) };

sub check {
    my ($name, $passed) = @_;
    print $passed ? 'ok' : 'FAILED', " $name\n";
}

sub client { return OneAccess::Client->new(@_) }

sub with {
    my ($id, $secret) = @_;
    return client(
        endpoint      => $ENDPOINT,
        client_id     => $id,
        client_secret => $secret,
        ca_file       => $CA_FILE
    );
}

sub failure {
    my ($call) = @_;
    return eval { $call->(); 1 } ? undef : $@;
}

sub main {
    check('version', OneAccess::version() eq '0.1.0');

    # The environment has everything, but must not complete explicit credentials.
    my %given = (endpoint => $ENDPOINT, client_id => $ID, client_secret => $SECRET);
    my $error = failure(sub { client(%given, endpoint => undef) });
    check('no endpoint', $error->kind == OneAccess::ARGUMENT);
    $error = failure(sub { client(endpoint => $ENDPOINT, client_id => $ID) });
    check('no secret', $error->kind == OneAccess::ARGUMENT);
    $error = failure(sub { client(%given, timeout => 5) });
    check('unknown setting', $error->kind == OneAccess::CONFIG && $error =~ /timeout_ms/);
    $error = failure(sub { client(%given, timeout_ms => 0) });
    check('bad value', $error->kind == OneAccess::CONFIG && $error =~ / at check\.pl line \d+\.$/);
    $error = failure(sub { client(%given, ca_file => "a\0b") });
    my $list    = failure(sub { client(%given, ca_file => {}) });
    my $refused = !ref $error && $error =~ /^ca_file .* at check\.pl/;
    check('NUL character', $refused && !ref $list && $list =~ /^ca_file .* at check\.pl/);
    my $line_break = failure(sub { client(%given, headers => { X => "1\r\nY: 2" }) });
    my $lines      = failure(sub { client(%given, headers => ['X: 1']) });
    $refused = !ref $lines && $lines =~ /^headers .* at check\.pl/;
    check('headers', $line_break->kind == OneAccess::ARGUMENT && $refused);
    my $client = client(
        %given,
        ca_file         => $CA_FILE,
        timeout_ms      => 20_000,
        system_roots    => JSON::PP::false,
        client_key_file => undef,
        headers         => { 'X-Test' => 'bindings' },
    );

    my $nothing = !$client->cached_token && $client->refresh_in == 0;
    $error = failure(sub { $client->get_token(0) });
    check('no token yet', $nothing && $error->kind == OneAccess::TIMEOUT);
    my $token = $client->get_token;
    my $words = $token->token_type eq 'Bearer' && $token->scope eq 'all';
    $words &&= $token->id_token =~ /^[^.]+\.[^.]+\.[^.]+$/;
    my $authorization = $token->authorization eq 'Bearer ' . $token->access_token;
    my $life          = $token->expires_at - time;
    check('token', $words && $authorization && 0 < $life && $life <= 1801);
    my $cached = $client->cached_token->access_token eq $token->access_token;
    check('cached token', $cached && $client->get_token(0)->id_token eq $token->id_token);
    check('refresh in',   0 < $client->refresh_in && $client->refresh_in < 1800);
    $client->reject($token);
    my $new_token = $client->get_token->access_token;
    check('rejected token', $new_token ne $token->access_token);
    $client->reject($new_token);    # too early after the first rejection: ignored
    check('rejected again', $client->get_token->access_token eq $new_token);
    my %numbers  = $client->statistics;
    my $times    = delete $numbers{token_age_ms} >= 0 && delete $numbers{token_remaining_ms} > 0;
    my $counted  = join ' ', map { "$_=$numbers{$_}" } sort keys %numbers;
    my $expected = 'attempts=2 denials=0 failures=0 refreshes=2 rejections=1 '
        . 'store_failures=0 store_hits=0 waits=0';
    check('statistics', $times && $counted eq $expected);
    my $child = fork // die "fork: $!";
    POSIX::_exit($client->get_token->access_token ne $new_token) if $child == 0;
    waitpid $child, 0;
    check('forked child', $? == 0);

    my $wrong = with($ID, 'wrong');
    $error = failure(sub { $wrong->get_token });
    my $denied = $error->kind == OneAccess::DENIED && $error->http_status == 401;
    $denied &&= $error->vendor_code eq 'invalid_client';
    $denied &&= !$error->is_retryable && !$error->is_remembered;
    my $ago = time - $error->occurred_at;    # the clock of `time` is a few milliseconds late
    check('denied', $denied && -1 <= $ago && $ago < 60);
    $error = failure(sub { $wrong->get_token });
    my $later = 0 < $error->retry_after && $error->retry_after < 3600;
    check('remembered', $error->is_remembered && $later);
    check('last error', $wrong->last_error->kind == OneAccess::DENIED);
    $error = failure(sub { $wrong->set_client_secret('') });
    check('empty secret', $error->kind == OneAccess::ARGUMENT);
    $wrong->set_client_secret($SECRET);
    check('new secret', $wrong->get_token->token_type eq 'Bearer' && !$wrong->last_error);
    $error = failure(sub { with('disabled-id', $SECRET)->get_token });
    check('vendor code', $error->vendor_code eq 'APP.0003' && $error =~ /应用已禁用/);

    check_store(%given, ca_file => $CA_FILE);
    check('secrets hidden', hidden($client, $token, $error));

    $client->close;
    $client->close;
    my $closed = !$client->cached_token && !defined $client->refresh_in;
    $error = failure(sub { $client->get_token });
    check('closed', $closed && $error->kind == OneAccess::CLOSED);
    $client = OneAccess::Client->from_env(
        timeout_ms => 20_000,
        headers    => { 'X-Test' => 'settings' },
    );
    check('from the environment', $client->get_token->token_type eq 'Bearer');
}

sub check_store {
    my (%settings) = @_;
    my $folder     = File::Temp->newdir;
    my $first      = client(%settings, store => "file:$folder/store");
    my $second     = client(%settings, store => "file:$folder/store");
    my $shared     = $first->get_token->access_token eq $second->get_token->access_token;
    my %numbers    = $second->statistics;
    $shared &&= $numbers{store_hits} == 1 && $numbers{attempts} == 0 && !$second->last_store_error;
    my $without = client(%settings, store => 'file:/nonexistent/folder');
    my $bearer  = $without->get_token->token_type eq 'Bearer';
    %numbers = $without->statistics;
    my $skipped = $numbers{store_hits} == 0 && $numbers{attempts} == 1;
    $skipped &&= $numbers{store_failures} >= 1;
    my $config = $without->last_store_error->kind == OneAccess::CONFIG;
    check('shared store', $shared && $bearer && $skipped && $config);
}

sub hidden {
    my ($client, $token, $error) = @_;
    local $Data::Dumper::Deparse = 1;
    local $Carp::Verbose         = 1;
    my $shown = join '', Dumper($client, $token, $error), "$client $token $error";
    $shown .= failure(sub { $client->set_client_secret("$SECRET\0") });
    my @mistake = (client_secret => $SECRET, proxy => "http://u:$SECRET\@p", ca_file => "a\0b");
    $shown .= failure(sub { OneAccess::Client->new(@mistake) });
    $shown .= failure(sub { OneAccess::Client->from_env(@mistake) });
    $shown .= Storable::freeze($client);
    my $copy = Storable::dclone($client);
    undef $copy;    # must not free the client
    my @secrets = ($SECRET, $token->access_token, $token->id_token);
    return !grep { index($shown, $_) >= 0 } @secrets;
}

main();
