"""Which proxy is used, when, and what is said of it."""

from __future__ import annotations

import pytest

from segue.client.proxies import DIRECT, Proxy, proxy_use
from segue.errors import ConfigError
from tests.http_proxy import EXCEPTIONS, SPELLINGS

SERVER = "gpu-box:8080"


@pytest.mark.parametrize("variable", [*SPELLINGS, "Http_Proxy"])
def test_no_variable_is_obeyed_unasked(variable: str) -> None:
    """Whatever names a proxy, in any case, is not used, and is named when a dial fails."""
    use = proxy_use(SERVER, {variable: "http://me:secret@proxy:3128"}, wanted=False)
    assert use.proxy is None
    assert use.note == f"{variable} is set and not used; --use_proxy=true uses it"


@pytest.mark.parametrize("variable", [*SPELLINGS, "Http_Proxy"])
def test_every_variable_is_obeyed_when_asked(variable: str) -> None:
    """Asked for, a proxy is taken from any variable, and said without its password."""
    use = proxy_use(SERVER, {variable: "http://me:secret@proxy:3128"}, wanted=True)
    assert use.proxy == Proxy("proxy", 3128, variable, "me:secret")
    assert use.note == f"dialled through the proxy proxy:3128 ({variable})"
    assert "secret" not in repr(use)


def test_without_variables_nothing_is_said() -> None:
    """An environment without proxies, or with empty variables, changes and says nothing."""
    for environment in ({}, {"http_proxy": "", "HTTPS_PROXY": "  "}, {"NO_PROXY": "*"}, {"proxy": "p:1"}):
        assert proxy_use(SERVER, environment, wanted=False) == DIRECT


def test_the_first_of_several_is_taken() -> None:
    """grpc_proxy goes before https_proxy, http_proxy and all_proxy, and lower case before upper."""
    names = [
        "grpc_proxy",
        "GRPC_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "http_proxy",
        "HTTP_PROXY",
        "all_proxy",
    ]
    environment = {name: f"http://{k}.example:1" for k, name in enumerate(names)}
    for k, name in enumerate(names):
        proxy = proxy_use(SERVER, environment, wanted=True).proxy
        assert proxy == Proxy(f"{k}.example", 1, name)
        del environment[name]


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy", ("proxy", 80, "")),
        ("http://proxy:3128/", ("proxy", 3128, "")),
        ("proxy:3128", ("proxy", 3128, "")),
        ("HTTP://Proxy:3128", ("proxy", 3128, "")),
        ("http://[::1]:3128", ("::1", 3128, "")),
        ("http://me:p%40ss%3A@proxy:1", ("proxy", 1, "me:p@ss:")),
        ("http://me@proxy:1", ("proxy", 1, "me:")),
        ("me:pass@proxy:1", ("proxy", 1, "me:pass")),
    ],
)
def test_proxies_are_written_in_many_ways(text: str, proxy: tuple[str, int, str]) -> None:
    """With and without scheme, port, brackets, user, password and escapes."""
    host, port, credentials = proxy
    assert proxy_use(SERVER, {"http_proxy": text}, wanted=True).proxy == Proxy(
        host, port, "http_proxy", credentials
    )


@pytest.mark.parametrize(
    "text",
    ["socks5://me:secret@proxy:1080", "https://me:secret@proxy", "http://me:secret@", "http://me:secret@:1",
     "http://me:secret@proxy:0", "http://me:secret@proxy:99999", "http://me:secret@pro xy:1", "http://[::1"],
)  # fmt: skip
def test_a_proxy_that_cannot_be_used_is_refused(text: str) -> None:
    """Another kind of proxy, or what is none, is said with the variable and without the password."""
    with pytest.raises(ConfigError, match=r"^use_proxy: ALL_PROXY .*allowed is http://host:port$") as refused:
        proxy_use(SERVER, {"ALL_PROXY": text}, wanted=True)
    assert refused.value.exit_code == 78
    assert "secret" not in str(refused.value)
    assert proxy_use(SERVER, {"ALL_PROXY": text}, wanted=False).proxy is None


def test_a_proxy_that_is_wanted_and_not_named_is_refused() -> None:
    """The flag without any variable is a contradiction, and is said with what would do."""
    with pytest.raises(ConfigError, match=r"^use_proxy: true, and no proxy is named; .*http_proxy"):
        proxy_use(SERVER, {"http_proxy": ""}, wanted=True)


@pytest.mark.parametrize("name", [spelt for each in EXCEPTIONS for spelt in (each, each.upper())])
@pytest.mark.parametrize(
    ("entries", "address", "excepted"),
    [
        ("*", "gpu-box:8080", True),
        ("gpu-box", "gpu-box:8080", True),
        ("GPU-Box", "gpu-BOX.:8080", True),
        ("other, gpu-box", "gpu-box:8080", True),
        ("other gpu-box", "gpu-box:8080", True),
        ("gpu-box:8080", "gpu-box:8080", True),
        ("gpu-box:80", "gpu-box:8080", False),
        ("example.com", "a.example.com:1", True),
        (".example.com", "a.example.com:1", True),
        ("*.example.com", "a.example.com:1", True),
        ("example.com", "notexample.com:1", False),
        ("box", "gpu-box:8080", False),
        (".", "gpu-box:8080", False),
        (",", "gpu-box:8080", False),
        ("10.0.0.0/8", "10.1.2.3:1", True),
        ("10.0.0.0/8", "11.1.2.3:1", False),
        ("10.1.2.3", "10.1.2.3:1", True),
        ("10.1.2.3", "10.1.2.30:1", False),
        ("1", "127.0.0.1:1", False),
        ("[::1]", "[::1]:8080", True),
        ("::1", "[::1]:8080", True),
        ("[::1]:8080", "[::1]:8080", True),
        ("fe80::/10", "[fe80::1]:1", True),
        ("localhost,127.0.0.1", "127.0.0.1:1", True),
    ],
)
def test_exceptions_are_excepted(name: str, entries: str, address: str, excepted: bool) -> None:
    """A server that no_proxy names is dialled directly, asked or not, and then nothing is set but unused."""
    environment = {"http_proxy": "http://proxy:1", name: entries}
    use = proxy_use(address, environment, wanted=True)
    assert (use.proxy is None) == excepted
    assert (name in use.note) == excepted
    assert (proxy_use(address, environment, wanted=False) == DIRECT) == excepted


def test_a_password_goes_into_its_header_only() -> None:
    """User and password are sent in base64, and nothing is sent where there are none."""
    assert Proxy("p", 1, "http_proxy", "me:secret").authorization == "Basic bWU6c2VjcmV0"
    assert Proxy("p", 1, "http_proxy").authorization == ""
    assert str(Proxy("::1", 1, "http_proxy", "me:secret")) == "[::1]:1 (http_proxy)"
