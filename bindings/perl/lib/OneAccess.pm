package OneAccess;

use strict;
use warnings;
use FFI::Platypus 2.00;
use FFI::Platypus::DL qw(dlopen dlerror RTLD_PLATYPUS_DEFAULT);
use File::Basename    qw(dirname);

our $VERSION = '0.1.0';

# What failed. The library's README says what to do about each kind.
use constant {
    ARGUMENT  => 1,
    CONFIG    => 2,
    TRANSPORT => 3,
    PROXY     => 4,
    TLS       => 5,
    TIMEOUT   => 6,
    DENIED    => 7,
    THROTTLED => 8,
    SERVER    => 9,
    PROTOCOL  => 10,
    CLOSED    => 11,
    INTERNAL  => 12,
};

my @STATISTICS = qw(refreshes attempts failures waits rejections denials token_age_ms
    token_remaining_ms store_hits store_failures);

my $ffi = FFI::Platypus->new(api => 2, lib => _library());

# oneaccess_client_new is OneAccess::C::client_new here, and so on.
sub _attach {
    my ($name, @type) = @_;
    $ffi->attach([$name => $name =~ s/^oneaccess_/OneAccess::C::/r], @type);
}

_attach(oneaccess_version                     => []                              => 'string');
_attach(oneaccess_config_new                  => ['string', 'string', 'string']  => 'opaque');
_attach(oneaccess_config_new_from_env         => []                              => 'opaque');
_attach(oneaccess_config_set                  => ['opaque', 'string', 'string']  => 'void');
_attach(oneaccess_config_add_header           => ['opaque', 'string', 'string']  => 'void');
_attach(oneaccess_config_free                 => ['opaque']                      => 'void');
_attach(oneaccess_client_new                  => ['opaque', 'opaque*']           => 'opaque');
_attach(oneaccess_client_get_token            => ['opaque', 'opaque*']           => 'opaque');
_attach(oneaccess_client_get_token_within     => ['opaque', 'sint64', 'opaque*'] => 'opaque');
_attach(oneaccess_client_get_cached_token     => ['opaque']                      => 'opaque');
_attach(oneaccess_client_refresh_in_ms        => ['opaque']                      => 'sint64');
_attach(oneaccess_client_reject_token         => ['opaque', 'string']            => 'void');
_attach(oneaccess_client_set_client_secret    => ['opaque', 'string']            => 'opaque');
_attach(oneaccess_client_stat                 => ['opaque', 'sint32']            => 'sint64');
_attach(oneaccess_client_get_last_error       => ['opaque']                      => 'opaque');
_attach(oneaccess_client_get_last_store_error => ['opaque']                      => 'opaque');
_attach(oneaccess_client_close                => ['opaque']                      => 'void');
_attach(oneaccess_client_free                 => ['opaque']                      => 'void');
_attach(oneaccess_token_access_token          => ['opaque']                      => 'string');
_attach(oneaccess_token_authorization         => ['opaque']                      => 'string');
_attach(oneaccess_token_token_type            => ['opaque']                      => 'string');
_attach(oneaccess_token_scope                 => ['opaque']                      => 'string');
_attach(oneaccess_token_id_token              => ['opaque']                      => 'string');
_attach(oneaccess_token_expires_at            => ['opaque']                      => 'sint64');
_attach(oneaccess_token_free                  => ['opaque']                      => 'void');
_attach(oneaccess_error_kind                  => ['opaque']                      => 'sint32');
_attach(oneaccess_error_http_status           => ['opaque']                      => 'sint32');
_attach(oneaccess_error_vendor_code           => ['opaque']                      => 'string');
_attach(oneaccess_error_message               => ['opaque']                      => 'string');
_attach(oneaccess_error_is_retryable          => ['opaque']                      => 'sint32');
_attach(oneaccess_error_is_remembered         => ['opaque']                      => 'sint32');
_attach(oneaccess_error_occurred_at           => ['opaque']                      => 'sint64');
_attach(oneaccess_error_retry_after_ms        => ['opaque']                      => 'sint64');
_attach(oneaccess_error_free                  => ['opaque']                      => 'void');

sub _library {
    my %names    = (darwin => 'liboneaccess.0.dylib', MSWin32 => 'oneaccess.dll');
    my $name     = $names{$^O} // 'liboneaccess.so.0';
    my $packaged = dirname(__FILE__) . "/$name";
    my $path     = $ENV{ONEACCESS_LIBRARY} || (-e $packaged ? $packaged : $name);
    dlopen($path, RTLD_PLATYPUS_DEFAULT)
        or die 'cannot load the oneaccess library: ', dlerror(),
        "; install it, or set ONEACCESS_LIBRARY to its path\n";
    return $path;
}

sub version { return OneAccess::C::version() }

package OneAccess::Client;

use Carp         qw(croak);
use POSIX        qw(ceil);
use Scalar::Util qw(blessed looks_like_number refaddr);
use overload     ();

# Handles by the address of their object: a copy of an object, such as Storable::dclone makes, has
# no handle, and so cannot free it a second time.
my %handles;

sub new {
    my ($class, %settings) = @_;
    @_ = ();    # or stack traces (Carp::confess) would show secrets
    my @credentials = map { _text($_, delete $settings{$_}) } qw(endpoint client_id client_secret);
    my @settings    = _settings(%settings);
    return $class->_open(OneAccess::C::config_new(@credentials), @settings);
}

sub from_env {
    my ($class, %settings) = @_;
    @_ = ();
    my @settings = _settings(%settings);
    return $class->_open(OneAccess::C::config_new_from_env(), @settings);
}

sub _open {
    my ($class, $config, @settings) = @_;
    for (@settings) {
        my ($function, @name_and_value) = @$_;
        $function->($config, @name_and_value);
    }
    my $error = OneAccess::C::client_new($config, \my $handle);
    OneAccess::C::config_free($config);
    _check($error);
    my $self = bless \do { my $nothing }, $class;
    $handles{ refaddr $self } = $handle;
    return $self;
}

# The calls that set the settings, each as a function, a name and a value.
sub _settings {
    my (%settings) = @_;
    @_ = ();
    my @calls;
    for my $name (sort grep { defined $settings{$_} } keys %settings) {
        my $value = $settings{$name};
        if ($name eq 'headers' && ref $value eq 'HASH') {

            # Removes those from the environment first.
            push @calls, [\&OneAccess::C::config_set, $name, undef];
            push @calls, map {
                [\&OneAccess::C::config_add_header, _text($name, $_), _text($name, $value->{$_})]
            } sort keys %$value;
        }
        else {
            push @calls,
                [\&OneAccess::C::config_set, _text('a setting', $name), _text($name, $value)];
        }
    }
    return @calls;
}

sub get_token {
    my ($self, $timeout) = @_;
    my ($error, $token);
    if (!defined $timeout) {
        $error = OneAccess::C::client_get_token($self->_handle, \$token);
    }
    else {
        croak 'timeout must be a number of seconds' unless looks_like_number($timeout);
        my $timeout_ms = $timeout < 86_400 ? ceil($timeout * 1000) : 86_400_000;    # at most a day
        $error = OneAccess::C::client_get_token_within($self->_handle, $timeout_ms, \$token);
    }
    _check($error);
    return OneAccess::Token->_take($token);
}

sub cached_token {
    my ($self) = @_;
    my $token = OneAccess::C::client_get_cached_token($self->_handle);
    return $token ? OneAccess::Token->_take($token) : undef;
}

sub refresh_in {
    my ($self) = @_;
    my $milliseconds = OneAccess::C::client_refresh_in_ms($self->_handle);
    return $milliseconds < 0 ? undef : $milliseconds / 1000;
}

sub reject {
    my ($self, $token) = @_;
    @_ = ();
    my $access_token = blessed $token ? $token->access_token : $token;
    OneAccess::C::client_reject_token($self->_handle, _text('access_token', $access_token));
    return;
}

sub set_client_secret {
    my ($self, $client_secret) = @_;
    @_ = ();
    my $text = _text('client_secret', $client_secret);
    _check(OneAccess::C::client_set_client_secret($self->_handle, $text));
    return;
}

sub statistics {
    my ($self) = @_;
    my $handle = $self->_handle;
    return map { $STATISTICS[$_ - 1] => OneAccess::C::client_stat($handle, $_) } 1 .. @STATISTICS;
}

sub last_error {
    my ($self) = @_;
    my $error = OneAccess::C::client_get_last_error($self->_handle);
    return $error ? OneAccess::Error->_take($error) : undef;
}

sub last_store_error {
    my ($self) = @_;
    my $error = OneAccess::C::client_get_last_store_error($self->_handle);
    return $error ? OneAccess::Error->_take($error) : undef;
}

sub close {
    my ($self) = @_;
    OneAccess::C::client_close($self->_handle);
    return;
}

sub _handle { return $handles{ refaddr $_[0] } }

# A new thread of Perl's own (threads.pm) finds an unblessed reference instead of the client.
sub CLONE_SKIP { return 1 }

sub DESTROY {
    my ($self) = @_;

    # At the very end of the program the functions of the library may be gone: the operating system
    # frees the memory.
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT';
    OneAccess::C::client_free(delete $handles{ refaddr $self });
    return;
}

sub _check {
    my ($error) = @_;
    die OneAccess::Error->_take($error, Carp::shortmess('')) if $error;
    return;
}

my $is_bool = defined &builtin::is_bool ? \&builtin::is_bool : sub { return 0 };

# Bytes for the library: UTF-8 of decoded text; other text is UTF-8 already.
sub _text {
    my ($name, $value) = @_;
    @_ = ();
    return undef unless defined $value;
    croak "$name must be a string, a number or a boolean, not a reference"
        if ref $value && !overload::Overloaded($value);
    no warnings;    # is_bool is experimental
    my $text = $is_bool->($value) ? ($value ? 'true' : 'false') : "$value";
    use warnings;
    croak "$name must not contain a NUL character" if $text =~ /\0/;
    utf8::encode($text)                            if utf8::is_utf8($text);
    return $text;
}

package OneAccess::Token;

# A function instead of a hash: Data::Dumper, Storable and JSON do not look inside.
sub _take {
    my ($class, $handle) = @_;
    my %fields = (
        access_token  => OneAccess::C::token_access_token($handle),
        authorization => OneAccess::C::token_authorization($handle),
        token_type    => OneAccess::C::token_token_type($handle),
        scope         => OneAccess::C::token_scope($handle),
        id_token      => OneAccess::C::token_id_token($handle),
        expires_at    => OneAccess::C::token_expires_at($handle),
    );
    OneAccess::C::token_free($handle);
    utf8::decode($fields{scope}) if defined $fields{scope};
    return bless sub { $fields{ $_[0] } }, $class;
}

for my $name (qw(access_token authorization token_type scope id_token expires_at)) {
    no strict 'refs';
    *$name = sub { $_[0]->($name) };
}

package OneAccess::Error;

use overload
    '""'     => sub { $_[0]{message} . $_[0]{where} },
    bool     => sub { 1 },
    fallback => 1;

sub _take {
    my ($class, $handle, $where) = @_;
    my $self = bless {
        kind          => OneAccess::C::error_kind($handle),
        http_status   => OneAccess::C::error_http_status($handle),
        vendor_code   => OneAccess::C::error_vendor_code($handle),
        message       => OneAccess::C::error_message($handle),
        is_retryable  => OneAccess::C::error_is_retryable($handle),
        is_remembered => OneAccess::C::error_is_remembered($handle),
        occurred_at   => OneAccess::C::error_occurred_at($handle),
        retry_after   => OneAccess::C::error_retry_after_ms($handle) / 1000,
        where         => $where // '',    # " at program.pl line 12.\n"
    }, $class;
    OneAccess::C::error_free($handle);
    defined and utf8::decode($_) for @$self{qw(vendor_code message)};
    return $self;
}

for my $name (
    qw(kind http_status vendor_code message is_retryable is_remembered occurred_at retry_after)) {
    no strict 'refs';
    *$name = sub { $_[0]{$name} };
}

1;

__END__

=encoding utf8

=head1 NAME

OneAccess - access tokens of Huawei Cloud OneAccess (Bamboocloud), kept fresh

=head1 SYNOPSIS

    use OneAccess;

    my $client  = OneAccess::Client->from_env;    # one for the whole process
    my $token   = $client->get_token;             # before every use; mostly from memory
    my %headers = (Authorization => $token->authorization);

=head1 OneAccess::Client

=head2 new(endpoint => ..., client_id => ..., client_secret => ..., %settings)

A client with these credentials. Reads no ONEACCESS_ variables. The settings are those of
F<docs/settings.md>, by name: C<< timeout_ms => 5000 >>. C<headers> also takes a reference to a hash. Undef
is the same as leaving a setting out. Sends no request.

=head2 from_env(%settings)

A client from the variables ONEACCESS_ENDPOINT, ONEACCESS_CLIENT_ID, ONEACCESS_CLIENT_SECRET, and one for each
setting. C<%settings> take precedence.

=head2 get_token, get_token($seconds)

A valid token; call it before each use. Usually it comes from memory. Otherwise the call blocks for at most
C<$seconds> (default: the setting C<timeout_ms>). With 0 it sends no request.

=head2 cached_token

The token in memory, or undef if there is none or it is not usable. Never waits and never sends a request.

=head2 refresh_in

Seconds until C<get_token> should be called to refresh the token. Undef: never, the client is closed.

=head2 reject($token)

Reports that a management API rejected this token, an object or the access token: HTTP 401, or HTTP 400 with
C<invalid_token> in the body. The next C<get_token> requests a new one.

=head2 set_client_secret($secret)

Uses this secret for all further requests. The current token is kept.

=head2 statistics

The ONEACCESS_STAT_* numbers of F<oneaccess.h> as a hash: refreshes, attempts, failures, waits, rejections,
denials, token_age_ms, token_remaining_ms, store_hits, store_failures.

=head2 last_error

Why the last request failed, also if no call reported it because the token was still valid. Undef if it
succeeded.

=head2 last_store_error

The last failure of the shared store (setting C<store>), however long ago. Undef if there was none. No call
reports it: the call goes on without the store.

=head2 close

All further calls fail with CLOSED.

=head1 OneAccess::Token

Methods: C<access_token>; C<authorization>, the value of the header; C<token_type>; C<scope> and C<id_token>,
undef if the response had none; C<expires_at>, in Unix time, for display only.

=head1 OneAccess::Error

Thrown by the methods above. As a string it is the message and the place of the call. Methods:

=over

=item kind

One of C<OneAccess::ARGUMENT>, C<CONFIG>, C<TRANSPORT>, C<PROXY>, C<TLS>, C<TIMEOUT>, C<DENIED>, C<THROTTLED>,
C<SERVER>, C<PROTOCOL>, C<CLOSED>, C<INTERNAL>, or the number of a kind that a newer library knows.

=item http_status

0 if there was no response.

=item vendor_code

The error_code of OneAccess, or the OAuth error. Undef if the response had neither.

=item message

One line for people; contains no secret.

=item is_retryable

The same call may succeed later without any change.

=item is_remembered

The error comes from an earlier request; this call sent none.

=item occurred_at

Unix time.

=item retry_after

Seconds until a retry made sense, at the time of the call.

=back

=head1 OneAccess::version()

Version of the loaded library.

=cut
