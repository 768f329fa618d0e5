"""Where webhooks may go: every special address is refused however it is written, and a URL has one form."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moneta.adapters.egress import HOST_CHARS_MAX, URL_CHARS_MAX, check_webhook_url, read_endpoint, why_refused
from moneta.domain.errors import InvalidFieldError

LOCAL_NETWORKS = ("10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
ODD_NETWORKS = (
    "0.0.0.0/8",
    "100.64.0.0/10",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::/128",
    "::/96",
    "::ffff:0:0/96",
    "::ffff:0:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001::/32",
    "2001:2::/48",
    "2001:10::/28",
    "2001:20::/28",
    "2001:30::/28",
    "2001:db8::/32",
    "2002::/16",
    "2620:4f:8000::/48",
    "3ffe::/16",
    "3fff::/20",
    "4000::/3",
    "5f00::/16",
    "8000::/3",
    "fd00:ec2::/32",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
)
PUBLIC_ADDRESSES = (
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2001:db7:ffff::1",
    "2001:db9::1",
    "2003::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001:830::200e",
    "3ffd:ffff::1",
    "3fff:1000::1",
)
EMBEDDED_V4 = ("127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "8.8.8.8")
EMBEDDINGS = {
    "compatible": lambda v4: IPv6Address(int(v4)),
    "mapped": lambda v4: IPv6Address((0xFFFF << 32) | int(v4)),
    "translated": lambda v4: IPv6Address((0xFFFF << 48) | int(v4)),
    "nat64": lambda v4: IPv6Address((0x64FF9B << 96) | int(v4)),
    "nat64-local": lambda v4: IPv6Address((0x64FF9B0001 << 80) | int(v4)),
    "6to4": lambda v4: IPv6Address((0x2002 << 112) | (int(v4) << 80)),
    "teredo-client": lambda v4: IPv6Address((0x20010000 << 96) | (int(v4) ^ 0xFFFFFFFF)),
    "teredo-server": lambda v4: IPv6Address((0x20010000 << 96) | (int(v4) << 64)),
}
NO_ADDRESSES = (
    "",
    "localhost",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.0.0.01",
    "127.0.0.1 ",
    " 127.0.0.1",
    "127.0.0.1\n",
    "127.0.0.1:80",
    "127.0.0.1/32",
    "１２７.0.0.1",  # noqa: RUF001  # full-width digits
    "8.8.8",
    "8.8.8.8.8",
    "8.8.8.256",
    "[2606:4700:4700::1111]",
    "2606:4700:4700::1111%1",
    "fe80::1%eth0",
    "2606::4700::1111",
    "2606:4700:4700::11111",
)


def edges(network):
    block = ip_network(network)
    middle = block.network_address + block.num_addresses // 2
    return [str(address) for address in dict.fromkeys((block[0], block[-1], middle))]


LOCAL_ADDRESSES = [address for network in LOCAL_NETWORKS for address in edges(network)]
ODD_ADDRESSES = sorted(
    {address for network in ODD_NETWORKS for address in edges(network)}
    | {str(embed(IPv4Address(inside))) for embed in EMBEDDINGS.values() for inside in EMBEDDED_V4}
)


def denied(address, *, allow_private=False):
    return why_refused([address], allow_private=allow_private) is not None


class TestAddresses:
    def test_the_table_has_150_rows_at_least(self):
        assert len(LOCAL_ADDRESSES) + len(ODD_ADDRESSES) + len(PUBLIC_ADDRESSES) + len(NO_ADDRESSES) >= 150

    @pytest.mark.parametrize("address", ODD_ADDRESSES)
    def test_a_special_address_is_refused_always(self, address):
        assert denied(address)
        assert denied(address, allow_private=True)

    @pytest.mark.parametrize("address", LOCAL_ADDRESSES)
    def test_a_private_address_is_admitted_for_local_use_only(self, address):
        assert denied(address)
        assert not denied(address, allow_private=True)

    @pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
    def test_a_public_address_is_admitted(self, address):
        assert not denied(address)

    @pytest.mark.parametrize("address", NO_ADDRESSES)
    def test_what_is_not_plainly_an_address_is_refused(self, address):
        assert denied(address, allow_private=True)

    @pytest.mark.parametrize("position", [0, 1, 2])
    @pytest.mark.parametrize("address", ["127.0.0.1", "::1", "64:ff9b::7f00:1", "fe80::1%eth0"])
    def test_one_denied_address_condemns_all(self, address, position):
        addresses = ["1.1.1.1", "2606:4700:4700::1111"]
        addresses.insert(position, address)
        assert why_refused(addresses, allow_private=False) == why_refused([address], allow_private=False) is not None

    @given(st.ip_addresses())
    @example(ip_address("192.0.0.9"))
    def test_nothing_that_python_calls_private_is_admitted(self, address):
        assert address.is_global or denied(str(address))

    @given(st.ip_addresses(v=4), st.sampled_from(sorted(EMBEDDINGS)))
    def test_no_address_with_another_inside_is_admitted(self, address, embedding):
        assert denied(str(EMBEDDINGS[embedding](address)), allow_private=True)

    @given(st.ip_addresses(v=6))
    def test_every_spelling_of_an_address_is_judged_alike(self, address):
        spellings = {str(address), address.exploded, address.exploded.upper()}
        assert len({why_refused([spelling], allow_private=False) for spelling in spellings}) == 1


CANONICAL = (
    # written                                        canonical
    ("https://hub.example",                          "https://hub.example/"),
    ("https://hub.example/",                         "https://hub.example/"),
    ("HTTPS://Hub.EXAMPLE/Path",                     "https://hub.example/Path"),
    ("https://hub.example:443/a",                    "https://hub.example/a"),
    ("https://hub.example:00443/a",                  "https://hub.example/a"),
    ("https://hub.example:8443/a?b=c",               "https://hub.example:8443/a?b=c"),
    ("https://hub.example:80/",                      "https://hub.example:80/"),
    ("https://hub.example?b",                        "https://hub.example/?b"),
    ("https://hub.example./a",                       "https://hub.example/a"),
    ("https://hub.example/a/../b/%2e%2e/c",          "https://hub.example/c"),
    ("https://hub.example/a@b:c",                    "https://hub.example/a@b:c"),
    ("https://Bücher.example/",                      "https://xn--bcher-kva.example/"),
    ("https://xn--bcher-kva.example/",               "https://xn--bcher-kva.example/"),
    ("https://faß.example/",                         "https://xn--fa-hia.example/"),
    ("https://a_b.hub-1.example/",                   "https://a_b.hub-1.example/"),
    ("https://1.hub.example/",                       "https://1.hub.example/"),
    ("https://8.8.8.8/",                             "https://8.8.8.8/"),
    ("https://[2606:4700:4700::1111]/",              "https://[2606:4700:4700::1111]/"),
    ("https://[2606:4700:4700:0:0:0:0:1111]:8443/",  "https://[2606:4700:4700::1111]:8443/"),
    ("https://[2A00::ABCD]/",                        "https://[2a00::abcd]/"),
)  # fmt: skip
LOOPBACK_IN_DISGUISE = (
    "2130706433",
    "02130706433",
    "017700000001",
    "0x7f000001",
    "0x7F000001",
    "0X7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0177.0.0.1",
    "0177.1",
    "127.1",
    "127.0.1",
    "127.0.0.01",
    "127.0.0.0x1",
    "127.0.0.1.",
    "127.1.",
    "0",
    "0x",
    "0x0",
    "①②⑦.⓪.⓪.①",
    "１２７.０.０.１",  # noqa: RUF001
    "127。0。0。1",
    "127．0．0．1",  # noqa: RUF001
    "127｡0｡0｡1",
    "¹²⁷.0.0.1",
    "１27.0.0.1",  # noqa: RUF001
    "0ｘ7f000001",  # noqa: RUF001
    "127.0.0.1\u200b",
    "127.0.\u00ad0.1",
    "%31%32%37.0.0.1",
    "127%2e0.0.1",
    "localhost%00.hub.example",
    "ｌocalhost",  # noqa: RUF001
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "local\u00adhost",
    "[::1%25lo]",
    "[::1%lo]",
    "[::1",
    "::1",
    "[127.0.0.1]",
    "[[::1]]",
)
DENIED_LITERALS = (
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "192.168.0.1",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::0001]",
    "[fd00::1]",
)
ODD_LITERALS = (
    "0.0.0.0",  # noqa: S104
    "169.254.169.254",
    "100.100.100.200",
    "192.0.0.192",
    "255.255.255.255",
    "[::]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[fe80::1]",
    "[fec0::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
)
MALFORMED_URLS = (
    "",
    "https",
    "https:",
    "https://",
    "https:///a",
    "https:/hub.example/",
    "https:hub.example",
    "//hub.example/",
    "hub.example",
    "/hub.example",
    "ftp://hub.example/",
    "file:///etc/passwd",
    "gopher://hub.example/",
    "javascript:alert(1)",
    "unix://hub.example/",
    "https+unix://hub.example/",
    "https://user@hub.example/",
    "https://user:secret@hub.example/",
    "https://@hub.example/",
    "https://hub.example@127.0.0.1/",
    "https://127.0.0.1#@hub.example/",
    "https://127.0.0.1\\@hub.example/",
    "https:\\\\hub.example/",
    "https://hub.example\\a",
    "https://hub.example/a\\b",
    "https://hub.example/#",
    "https://hub.example/#fragment",
    "https://hub.example#fragment",
    "https://hub.example:/",
    "https://hub.example:0/",
    "https://hub.example:65536/",
    "https://hub.example:99999/",
    "https://hub.example:100000/",
    "https://hub.example:-1/",
    "https://hub.example:+1/",
    "https://hub.example:1e3/",
    "https://hub.example:８０/",  # noqa: RUF001
    "https://hub.example:80:80/",
    " https://hub.example/",
    "https://hub.example/ ",
    "https://hub.example/a b",
    "https://hub .example/",
    "https://hub.example/\n",
    "https://hub.example\n/",
    "\thttps://hub.example/",
    "https://hub\t.example/",
    "https://hub.example/a\r\nHost: evil",
    "https://hub.example/\x00",
    "https://hub.example\x00.evil/",
    "https://hub.example/\x7f",
    "https://hub.example/é",
    "https://hub.example/?q=é",
    "https://hub\u00a0.example/",
    "https://hub\u3000.example/",
    "https://hub。example/",
    "https://ｈub.example/",  # noqa: RUF001
    "https://hub..example/",
    "https://.hub.example/",
    "https://hub.example../",
    "https://./",
    "https://../",
    "https://-hub.example/",
    "https://hub-.example/",
    "https://hub.-/",
    "https://hub.example.0x1/",
    "https://hub.1/",
    "https://1.2.3.4.5/",
    "https://1.2.3.256/",
    "https://xn--a.example/",
    "https://xn--zz.example/",
    "https://*.example/",
    "https://$host/",
    "https://{host}/",
    "https://hub.example|a/",
    "https://hub.example,127.0.0.1/",
    "https://[2606:4700::1111/",
    "https://2606:4700::1111]/",
    "https://[2606::4700::1111]/",
    "https://[v1.fe80::a]/",
    "https://[]/",
    "https://[2606:4700::1111]a/",
    "https://[2606:4700::1111]./",
    "https://hub.\ud800.example/",
    f"https://{'a' * 64}.example/",
    f"https://{'a.' * 127}example/",
    f"https://hub.example/{'a' * URL_CHARS_MAX}",
)


class TestURLs:
    @pytest.mark.parametrize(("written", "canonical"), CANONICAL)
    def test_a_good_url_has_one_form(self, written, canonical):
        assert check_webhook_url(written, allow_http=False, allow_private=False) == canonical

    @pytest.mark.parametrize("canonical", sorted({canonical for _, canonical in CANONICAL}))
    def test_checking_again_changes_nothing(self, canonical):
        assert check_webhook_url(canonical, allow_http=False, allow_private=False) == canonical

    @pytest.mark.parametrize("url", MALFORMED_URLS)
    def test_a_malformed_url_is_refused_whatever_is_allowed(self, url):
        with pytest.raises(InvalidFieldError):
            check_webhook_url(url, allow_http=True, allow_private=True)

    @pytest.mark.parametrize("host", LOOPBACK_IN_DISGUISE)
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_an_address_in_disguise_is_refused_whatever_is_allowed(self, scheme, host):
        with pytest.raises(InvalidFieldError):
            check_webhook_url(f"{scheme}://{host}/", allow_http=True, allow_private=True)

    @pytest.mark.parametrize("host", DENIED_LITERALS)
    def test_a_private_literal_needs_the_setting(self, host):
        check_webhook_url(f"https://{host}/", allow_http=False, allow_private=True)
        with pytest.raises(InvalidFieldError):
            check_webhook_url(f"https://{host}/", allow_http=False, allow_private=False)

    @pytest.mark.parametrize("host", ODD_LITERALS)
    def test_an_odd_literal_is_refused_always(self, host):
        with pytest.raises(InvalidFieldError):
            check_webhook_url(f"https://{host}/", allow_http=True, allow_private=True)

    @pytest.mark.parametrize(
        "host", ["localhost", "LOCALHOST.", "hub", "a.localhost", "printer.local", "metadata.google.internal"]
    )
    def test_a_local_name_needs_the_setting(self, host):
        check_webhook_url(f"https://{host}/", allow_http=False, allow_private=True)
        with pytest.raises(InvalidFieldError):
            check_webhook_url(f"https://{host}/", allow_http=False, allow_private=False)

    def test_http_needs_the_setting(self):
        assert (
            check_webhook_url("http://hub.example:80/", allow_http=True, allow_private=False) == "http://hub.example/"
        )
        with pytest.raises(InvalidFieldError, match="expected https, got http"):
            check_webhook_url("http://hub.example/", allow_http=False, allow_private=False)

    def test_the_longest_host_and_url_just_fit(self):
        host = ".".join(["a" * 63] * 3 + ["b" * 61])
        assert len(host) == HOST_CHARS_MAX
        url = f"https://{host}/".ljust(URL_CHARS_MAX, "p")
        assert check_webhook_url(url, allow_http=False, allow_private=False) == url

    def test_a_refusal_does_not_repeat_the_url(self):
        with pytest.raises(InvalidFieldError) as refused:
            check_webhook_url("https://user:hunter2@hub.example/?token=hunter2", allow_http=False, allow_private=False)
        assert "hunter2" not in refused.value.detail
        assert refused.value.facts == {"field": "webhook_url"}

    def test_urls_of_one_host_and_port_share_an_origin(self):
        urls = ("https://hub.example/a", "https://HUB.example:443/b", "https://hub.example./c?d")
        endpoints = [read_endpoint(url, allow_http=True, allow_private=False) for url in urls]
        others = [
            read_endpoint(url, allow_http=True, allow_private=False)
            for url in ("http://hub.example:443/", "https://hub.example:444/", "https://www.hub.example/")
        ]
        assert len({endpoint.origin for endpoint in endpoints}) == 1
        assert len({endpoint.origin for endpoint in endpoints + others}) == 4

    @given(
        st.text(max_size=40), st.sampled_from(["https://", "http://", "https://hub.example", "https://127.0.0.1", ""])
    )
    def test_any_text_is_refused_or_becomes_canonical(self, text, start):
        try:
            canonical = check_webhook_url(start + text, allow_http=True, allow_private=True)
        except InvalidFieldError:
            return
        assert canonical == check_webhook_url(canonical, allow_http=True, allow_private=True)
        assert canonical.isascii()
        assert canonical.isprintable()
        assert not set(canonical) & set("@#\\ ") or "@" in text

    @given(st.ip_addresses(v=4), st.sampled_from(["{:d}", "{:#x}", "{:o}", "0{:o}", "0x{:X}"]))
    def test_no_number_stands_for_an_address(self, address, form):
        with pytest.raises(InvalidFieldError):
            check_webhook_url(f"https://{form.format(int(address))}/", allow_http=True, allow_private=True)
