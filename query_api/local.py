"""Which addresses are of this machine. Pure."""

import ipaddress


def is_local(host: str) -> bool:
    """Tell whether a host is this machine, as it is written: no name is looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
