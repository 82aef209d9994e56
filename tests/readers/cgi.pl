# Perl's readers. What they are asked, and how they answer: frameworks.py.
use strict;
use warnings;
use CGI ();
use CGI::Cookie ();
use JSON::PP ();

my $json = JSON::PP->new->ascii->canonical;
$| = 1;

my %cookies = (
    'CGI::Cookie' => sub {
        my %found = CGI::Cookie->parse($_[0]);
        map { my $name = $_; map { [$name, $_] } $found{$name}->value } keys %found;
    },
    'CGI::Cookie, raw' => sub {
        local $ENV{HTTP_COOKIE} = $_[0];
        my $found = CGI::Cookie->raw_fetch;
        map { [$_, $found->{$_}] } keys %$found;
    },
);

my %queries = (
    'CGI' => sub {
        my $cgi = CGI->new($_[0]);
        map { my $name = $_; map { [$name, $_] } $cgi->multi_param($name) } $cgi->multi_param;
    },
);

# What each of them finds. One that gives up finds nothing.
sub read_all {
    my ($readers, @inputs) = @_;
    return [
        map {
            my $reader = $readers->{$_};
            [[$_], [map { my $input = $_; eval { map { [map { defined $_ ? "$_" : '' } @$_] } $reader->($input) } } @inputs]]
        } sort keys %$readers
    ];
}

local $SIG{__WARN__} = sub { };
while (my $line = <STDIN>) {
    my @answers;
    for my $request (@{ $json->decode($line) }) {
        my (undef, $query) = split /\?/, $request->{path}, 2;
        push @answers, {
            cookie => read_all(\%cookies, @{ $request->{cookies} }),
            query  => read_all(\%queries, $query // ''),
        };
    }
    print $json->encode(\@answers), "\n";
}
