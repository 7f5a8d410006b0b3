# Prints the names of the users of a OneAccess tenant.
use strict;
use warnings;
use HTTP::Tiny;
use JSON::PP qw(decode_json);
use OneAccess;

my $URL  = "$ENV{ONEACCESS_ENDPOINT}/api/v2/tenant/users";
my $HTTP = HTTP::Tiny->new(
    verify_SSL  => 1,
    SSL_options => { SSL_ca_file => $ENV{ONEACCESS_CA_FILE} },
);

# Calls a management API. If it rejects the token, tries once more with a new one.
sub call {
    my ($client, $url, $attempts) = (@_, 2);
    my $token    = $client->get_token;
    my $response = $HTTP->get($url, { headers => { Authorization => $token->authorization } });
    return decode_json($response->{content}) if $response->{success};
    my $rejected = $response->{status} == 401
        || $response->{status} == 400 && $response->{content} =~ /invalid_token/;
    die "HTTP $response->{status} from $url\n" if !$rejected || $attempts == 1;
    $client->reject($token);
    return call($client, $url, $attempts - 1);
}

sub main {
    my $client = OneAccess::Client->from_env;
    print "$_->{user_name}\n" for @{ call($client, $URL)->{users} };
}

main();
