"""Who may use a server: names, addresses, the token and its guesses."""

from __future__ import annotations

import argparse

import pytest

from lib.serving import access
from lib.serving.access import FREE_GUESSES, LONGEST_WAIT, MAX_ADDRESSES, Access, Guesses, network_of


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.mark.parametrize(
    ("bound", "known", "unknown"),
    [
        ("127.0.0.1", ["localhost", "LOCALHOST:80", "127.0.0.1:8866", "[::1]:8866", ""], ["192.0.2.1", "a.example", "localhost.a.example"]),
        ("192.0.2.1", ["192.0.2.1:1", "localhost"], ["192.0.2.2", "localhost.a.example", "[::2]"]),
        ("2001:db8::7", ["[2001:db8::7]:80", "localhost"], ["[2001:db8::8]"]),
        ("0.0.0.0", ["192.0.2.1", "[2001:db8::7]:80", "study.example.org.:1"], ["a.example", "192.0.2.1.a.example"]),
        ("::", ["192.0.2.1", "study.example.org"], ["a.example", "["]),
    ],
)  # fmt: skip
def test_answers_to_its_own_names_alone(bound, known, unknown):
    hosts = ["Study.Example.org"] if bound in access.EVERY_ADDRESS else []
    asked = Access(bound=bound, hosts=hosts)
    assert [host for host in known if not asked.is_known_host(host)] == []
    assert [host for host in unknown if asked.is_known_host(host)] == []


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.8", "198.51.100.1", "192.0.2.8"),  # no proxy of ours says so
        ("10.0.0.2", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.2", "203.0.113.9, 198.51.100.1", "198.51.100.1"),  # the visitor wrote the first
        ("10.0.0.2", "198.51.100.1, 10.0.0.3", "198.51.100.1"),
        ("10.0.0.2", "", "10.0.0.2"),
        ("10.0.0.2", "nonsense", "10.0.0.2"),
        ("", "198.51.100.1", ""),  # a Unix socket
    ],
)
def test_only_a_known_proxy_is_believed(peer, forwarded, address):
    assert Access(proxies=["10.0.0.0/24"]).address(peer, forwarded) == address
    assert Access().address(peer, forwarded) == peer


def test_wrong_tokens_cost_waits_that_double(clock):
    asked = Access("right", clock=clock)
    waits = []
    for _ in range(FREE_GUESSES + 12):
        assert not asked.is_token("192.0.2.7", "wrong")
        waits.append(asked.guesses.wait("192.0.2.7"))
        clock.now += waits[-1]
    assert waits[:FREE_GUESSES] == [0.0] * FREE_GUESSES
    assert waits[FREE_GUESSES : FREE_GUESSES + 4] == pytest.approx([1, 2, 4, 8])
    assert max(waits) == pytest.approx(LONGEST_WAIT)


def test_during_a_wait_not_even_the_token_is_looked_at(clock):
    asked = Access("right", clock=clock)
    for _ in range(FREE_GUESSES + 1):
        asked.is_token("192.0.2.7", "wrong")
    left = asked.guesses.wait("192.0.2.7")
    assert left > 0
    assert not asked.is_token("192.0.2.7", "right")
    assert asked.guesses.wait("192.0.2.7") == left  # what is not looked at is not counted
    assert asked.is_token("192.0.2.8", "right")
    clock.now += left
    assert asked.is_token("192.0.2.7", "right")


def test_who_has_shown_the_token_is_not_locked_out_by_a_neighbour(clock):
    asked = Access("right", clock=clock)
    assert asked.is_token("192.0.2.7", "right")
    for _ in range(50):
        asked.is_token("192.0.2.7", "wrong")
    assert asked.guesses.wait("192.0.2.7") > 0
    assert asked.is_token("192.0.2.7", "right")


def test_the_table_of_guesses_is_bounded_and_forgets(clock):
    guesses = Guesses(clock)
    for number in range(MAX_ADDRESSES + 100):
        guesses.add(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(guesses._wrong) == MAX_ADDRESSES
    for _ in range(FREE_GUESSES + 5):
        guesses.add("2001:db8::1")
    assert guesses.wait("2001:db8::2") > 0  # one host has a whole /64
    clock.now += 2 * LONGEST_WAIT + 1
    guesses.add("2001:db8::1")
    assert guesses.wait("2001:db8::1") == 0


@pytest.mark.parametrize("text", ["", "::", "1.2.3.4.5", "fe80::1%eth0", "unix:"])
def test_any_address_has_a_network(text):
    assert network_of(text) == ("fe80::/64" if text.startswith("fe80") else "::/64" if text == "::" else text)


@pytest.mark.parametrize("token", ["correct horse", "ein längerer Text", "словарь"])
def test_takes_a_token_of_any_letters(token):
    asked = Access(token)
    as_header = token.encode().decode("latin-1")  # how a header's bytes reach Python
    assert asked.allows("192.0.2.7", f"Bearer {as_header}") and asked.allows("192.0.2.7", f"bearer  {token} ")
    for wrong in ("", "Bearer", "Bearer ", f"Basic {token}", f"Bearer {token}x", token):
        assert not asked.allows("192.0.2.9", wrong)
    assert Access().allows("192.0.2.9", "")


def test_options_are_checked():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host")
    access.add_arguments(parser)
    options = parser.parse_args(
        ["--host", "0.0.0.0", "--allow-host", "a.example", "--allow-host", "b.example", "--proxy", "10.0.0.2"]
    )
    asked = Access.from_options(options)
    assert asked.is_known_host("b.example") and asked.is_proxy("10.0.0.2") and not asked.is_proxy("10.0.0.3")
    with pytest.raises(SystemExit):
        parser.parse_args(["--proxy", "10.0.0.2/24"])
