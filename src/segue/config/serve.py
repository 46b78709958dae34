"""The configuration of `segue serve`.

Loopback unless told otherwise: any other address without TLS and tokens needs
``--insecure``, said by a person who knows who else is on that network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import annotated_types as at

from segue.config.constraints import Host, Port, Text
from segue.config.refusal import Refused
from segue.config.schema import Flat, Help
from segue.config.security import AuthConfig, ServerTlsConfig, check_pair, token_given

Many = Annotated[int, at.Interval(ge=1, le=1000)]
Drain = Annotated[float, at.Interval(ge=0, le=60)]
Watch = Annotated[float, at.Interval(ge=0.1, le=3600)]
Often = Annotated[float, at.Interval(ge=1, le=10_000)]
Latency = Annotated[float, at.Interval(ge=0, le=60)]


@dataclass(frozen=True, kw_only=True)
class ListenConfig:
    """Where robots reach the server."""

    host: Annotated[Host, Help("address to listen on", "a host name or an IP address")] = "127.0.0.1"
    port: Annotated[Port, Help("0 takes a free one and says which")] = 8080
    insecure: Annotated[bool, Help("allows an address other than loopback without TLS and tokens")] = False


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """What is served, and on which device."""

    path: Annotated[Text, Help("builtin:belt, builtin:scripted, or a file or folder")] = "builtin:belt"
    roots: Annotated[Text, Help("folders, comma between, below which clients may name policies")] = ""
    device: Annotated[Text, Help("auto takes a GPU where there is one", "auto, cpu, cuda or cuda:N")] = "auto"


@dataclass(frozen=True, kw_only=True)
class ServingConfig:
    """How requests are served."""

    max_robots: Annotated[Many, Help("robots at once; more are refused")] = 16
    max_batch: Annotated[Many, Help("requests in one inference, at most")] = 8
    inference_latency: Annotated[Latency, Help("seconds that every request takes at least")] = 0.0
    drain_s: Annotated[Drain, Help("time for what is in flight when told to stop")] = 5.0
    requests_per_s: Annotated[Often, Help("requests of one robot; more are refused")] = 200.0
    watchdog_s: Annotated[Watch, Help("a batch longer than this, and than 10 inferences, hangs")] = 5.0


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Everything that `segue serve` can be told."""

    listen: Annotated[ListenConfig, Flat()] = field(default_factory=ListenConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    serving: Annotated[ServingConfig, Flat()] = field(default_factory=ServingConfig)
    tls: ServerTlsConfig = field(default_factory=ServerTlsConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)

    def resolve(self, given: frozenset[str]) -> ServeConfig:
        """Returns this configuration, checked as a whole.

        Raises:
            Refused: a certificate is without its key, or the address is open to others, something
                is missing that would keep them out, and --insecure was not given.
        """
        from segue.server.security import bind_objection  # ssl, which --help does without

        host, tls = self.listen.host, self.tls
        check_pair(tls.cert_file, tls.key_file)
        guarded = tls.client_ca_file is not None or token_given(self.auth)
        objection = bind_objection(host, encrypted=tls.cert_file is not None, guarded=guarded)
        if objection is not None and not self.listen.insecure:
            raise Refused("host", objection, host)
        return self
