package OneAccess;

# Access tokens of Huawei Cloud OneAccess, kept fresh by liboneaccess.

use strict;
use warnings;
use FFI::Platypus 2.00;

use constant DENIED => 7;    # a kind of error; all of them are in oneaccess.h

my $ffi = FFI::Platypus->new(api => 2, lib => 'liboneaccess.so.0');
$ffi->mangler(sub { "oneaccess_$_[0]" });
$ffi->attach(@$_) for (
    [config_new           => ['string', 'string', 'string'] => 'opaque'],
    [config_new_from_env  => []                             => 'opaque'],
    [config_set           => ['opaque', 'string', 'string']],
    [config_free          => ['opaque']],
    [client_new           => ['opaque', 'opaque*'] => 'opaque'],
    [client_get_token     => ['opaque', 'opaque*'] => 'opaque'],
    [client_reject_token  => ['opaque', 'string']],
    [client_free          => ['opaque']],
    [token_access_token   => ['opaque'] => 'string'],
    [token_authorization  => ['opaque'] => 'string'],
    [token_expires_at     => ['opaque'] => 'sint64'],
    [token_free           => ['opaque']],
    [error_kind           => ['opaque'] => 'sint32'],
    [error_http_status    => ['opaque'] => 'sint32'],
    [error_vendor_code    => ['opaque'] => 'string'],
    [error_message        => ['opaque'] => 'string'],
    [error_is_retryable   => ['opaque'] => 'sint32'],
    [error_free           => ['opaque']],
);

# Without arguments: from the environment, ONEACCESS_ENDPOINT and so on.
sub new {
    my ($class, %options) = @_;
    my $config = $options{endpoint}
        ? config_new(@options{qw(endpoint client_id client_secret)})
        : config_new_from_env();
    config_set($config, 'ca_file', $options{ca_file}) if $options{ca_file};
    my $error = client_new($config, \my $client);
    config_free($config);
    OneAccess::Error->throw($error) if $error;
    return bless \$client, $class;
}

# { access_token, authorization, expires_at }. Call it before every use; it blocks about once in a
# token's life.
sub token {
    my ($self) = @_;
    my $error = client_get_token($$self, \my $handle);
    OneAccess::Error->throw($error) if $error;
    my %token = (
        access_token  => token_access_token($handle),
        authorization => token_authorization($handle),    # "Bearer ...", ready for the header
        expires_at    => token_expires_at($handle),       # Unix time; to show, not to decide
    );
    token_free($handle);
    return \%token;
}

# A management API did not accept this token.
sub reject {
    my ($self, $token) = @_;
    client_reject_token($$self, $token->{access_token});
}

sub CLONE_SKIP { 1 }    # a thread of Perl's own cannot share it

sub DESTROY {
    my ($self) = @_;
    # At the very end of the program the library's functions may be gone before its objects.
    client_free($$self) unless ${^GLOBAL_PHASE} eq 'DESTRUCT';
}

package OneAccess::Error;

use Encode qw(decode_utf8);
use overload '""' => sub { $_[0]{message} }, fallback => 1;

sub throw {
    my ($class, $handle) = @_;
    my $error = bless {
        kind         => OneAccess::error_kind($handle),
        http_status  => OneAccess::error_http_status($handle),
        vendor_code  => decode_utf8(OneAccess::error_vendor_code($handle)),
        message      => decode_utf8(OneAccess::error_message($handle)),
        is_retryable => OneAccess::error_is_retryable($handle),
    }, $class;
    OneAccess::error_free($handle);
    die $error;
}

1;
