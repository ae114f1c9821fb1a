"""What the contract says about its own methods: permission, idempotency. Read from the descriptors, written once."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor

from domain.errors import InvalidInput
from lichtbuch.type.v1 import options_pb2
from servicekit.access import PUBLIC, is_read

_FOREIGN: Final = ("grpc.health.v1.", "grpc.reflection.")
"""Services of gRPC itself, which declare no policy: health and reflection answer anybody."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a contract and its policy."""

    service: str
    name: str
    permission: str
    idempotent: bool
    tenantless: bool
    request: Descriptor

    @property
    def full_name(self) -> str:
        """ "lichtbuch.registry.v1.RegistryService/GetMunicipality"."""
        return f"{self.service}/{self.name}"

    @property
    def is_public(self) -> bool:
        """True if it needs no identity."""
        return self.permission == PUBLIC

    @property
    def is_read(self) -> bool:
        """True if it changes nothing."""
        return self.is_public or is_read(self.permission)


def method_of(descriptor: MethodDescriptor) -> Method:
    """A method with its policy. Raises InvalidInput if the contract declares none."""
    policy = descriptor.GetOptions().Extensions[options_pb2.policy]
    service: ServiceDescriptor = descriptor.containing_service
    if not policy.permission:
        raise InvalidInput.of(descriptor.full_name, "the contract declares no permission for this method")
    return Method(
        service.full_name,
        descriptor.name,
        policy.permission,
        policy.idempotent,
        policy.tenantless,
        descriptor.input_type,
    )


def methods_of(service: str) -> dict[str, Method]:
    """The methods of a service by name. Raises KeyError for one that is not imported, InvalidInput without policy."""
    descriptor = descriptor_pool.Default().FindServiceByName(service)
    return {method.name: method_of(method) for method in descriptor.methods}


@lru_cache(maxsize=1024)
def find_method(path: str) -> Method | None:
    """The method behind a gRPC path ("/package.Service/Method"); None for one that is not ours."""
    service, _, name = path.removeprefix("/").rpartition("/")
    if service.startswith(_FOREIGN):
        return None
    try:
        return methods_of(service).get(name)
    except (KeyError, InvalidInput):
        return None
