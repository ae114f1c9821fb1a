"""Which kind of Modbus connection an endpoint's scheme means."""

from __future__ import annotations

from collections.abc import Callable

from fieldbus.modbus.line.link import ModbusLink, TcpLink
from fieldbus.modbus.line.rtu_link import RtuTcpLink
from fieldbus.modbus.line.serial_link import SerialLink
from fieldbus.modbus.line.tls import tls_context
from fieldbus.security import FieldSecurity
from fieldbus.url import Endpoint, Scheme


def link_maker(endpoint: Endpoint, security: FieldSecurity) -> Callable[[], ModbusLink]:
    """Makes one connection after the other to a Modbus endpoint. Raises InvalidInput for TLS that nothing secures."""
    if endpoint.scheme is Scheme.MODBUS_RTU:
        return lambda: SerialLink(endpoint)
    if endpoint.scheme is Scheme.MODBUS_RTU_TCP:
        return lambda: RtuTcpLink(endpoint)
    if endpoint.scheme is Scheme.MODBUS_TLS:
        context = tls_context(endpoint, security.tls(endpoint))
        return lambda: TcpLink(endpoint, context)
    return lambda: TcpLink(endpoint)
