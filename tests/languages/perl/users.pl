# Counts the users of a OneAccess tenant, in this process and its children.
use strict;
use warnings;
use HTTP::Tiny;
use JSON::PP;
use OneAccess;

my %http = (verify_SSL => 1, SSL_options => { SSL_ca_file => $ENV{ONEACCESS_CA_FILE} });

# Calls a management API; replaces a token that it no longer accepts.
sub get {
    my ($client, $url, $attempts) = (@_, 2);
    my $token   = $client->token;
    my %headers = (Authorization => $token->{authorization});
    my $answer  = HTTP::Tiny->new(%http)->get($url, { headers => \%headers });
    return decode_json($answer->{content}) if $answer->{success};
    my $expired = $answer->{status} == 401
        || $answer->{status} == 400 && $answer->{content} =~ /invalid_token/;
    die "HTTP $answer->{status} from $url\n" if !$expired || $attempts == 1;
    $client->reject($token);
    return get($client, $url, $attempts - 1);
}

sub count_users {
    my ($client) = @_;
    return get($client, $ENV{ONEACCESS_TENANT_USERS_URL})->{total};
}

sub in_children {
    my ($client) = @_;
    for (1 .. 4) {
        defined(my $child = fork) or die "fork: $!";
        exit count_users($client) if $child == 0;
    }
    return map { wait; $? >> 8 } 1 .. 4;
}

sub show_error {
    my ($client_id) = @_;
    my %wrong = (
        endpoint      => $ENV{ONEACCESS_ENDPOINT},
        client_id     => $client_id,
        client_secret => 'wrong',
        ca_file       => $ENV{ONEACCESS_CA_FILE},
    );
    return if eval { OneAccess->new(%wrong)->token };
    my $error = $@;
    die $error unless ref $error && $error->isa('OneAccess::Error');
    print "kind $error->{kind}, HTTP $error->{http_status}, $error->{vendor_code}: $error\n";
}

sub main {
    my $client = OneAccess->new;
    print join(' ', 'users:', count_users($client), in_children($client)), "\n";
}

binmode STDOUT, ':utf8';
$| = 1;    # or the children print it again
main();
show_error($ENV{ONEACCESS_CLIENT_ID});
show_error('disabled-application');
print "ok\n";
