"""Telling addresses from names."""

from __future__ import annotations

import ipaddress
from typing import Any


def is_ipv4_addr(host: Any) -> bool:
    """Whether this is an IPv4 address in dotted form."""
    return _is_address(host, ipaddress.IPv4Address)


def is_ipv6_addr(host: Any) -> bool:
    """Whether this is an IPv6 address, with or without a zone."""
    return _is_address(host, ipaddress.IPv6Address)


def is_ip_addr(host: Any) -> bool:
    """Whether this is an IPv4 or IPv6 address."""
    return is_ipv4_addr(host) or is_ipv6_addr(host)


def _is_address(host: Any, kind: type) -> bool:
    if not isinstance(host, str):
        return False
    try:
        kind(host)
    except ValueError:
        return False
    return True
