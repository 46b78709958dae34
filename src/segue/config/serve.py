"""The configuration of `segue serve`.

Loopback unless told otherwise: any other address without TLS and tokens needs
``--insecure``, said by a person who knows who else is on that network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import annotated_types as at

from segue.config.constraints import Host, Port, Text, is_loopback
from segue.config.refusal import Refused
from segue.config.schema import Flat, Help

Many = Annotated[int, at.Interval(ge=1, le=1000)]
Drain = Annotated[float, at.Interval(ge=0, le=60)]
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

    path: Annotated[Text, Help("builtin:belt or builtin:scripted")] = "builtin:belt"
    device: Annotated[Text, Help("auto takes a GPU where there is one", "auto, cpu, cuda or cuda:N")] = "auto"


@dataclass(frozen=True, kw_only=True)
class ServingConfig:
    """How requests are served."""

    max_robots: Annotated[Many, Help("robots at once; more are refused")] = 16
    max_batch: Annotated[Many, Help("requests in one inference, at most")] = 8
    inference_latency: Annotated[Latency, Help("seconds that every request takes at least")] = 0.0
    drain_s: Annotated[Drain, Help("time for what is in flight when told to stop")] = 5.0


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Everything that `segue serve` can be told."""

    listen: Annotated[ListenConfig, Flat()] = field(default_factory=ListenConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    serving: Annotated[ServingConfig, Flat()] = field(default_factory=ServingConfig)

    def resolve(self, given: frozenset[str]) -> ServeConfig:
        """Returns this configuration, checked as a whole.

        Raises:
            Refused: the address is open to others and --insecure was not given.
        """
        host = self.listen.host
        if not is_loopback(host) and not self.listen.insecure:
            says = "others could drive your robots; expected a loopback address, or --insecure beside it"
            raise Refused("host", says, host)
        return self
