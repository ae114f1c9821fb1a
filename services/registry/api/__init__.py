"""The registry's gRPC methods: request in, domain call in one transaction, answer out. A file per kind of resource."""

from lichtbuch.registry.v1 import registry_pb2_grpc
from services.registry.api.bindings import BindingCalls
from services.registry.api.endpoints import EndpointCalls
from services.registry.api.municipalities import MunicipalityCalls


class RegistryServicer(MunicipalityCalls, BindingCalls, EndpointCalls, registry_pb2_grpc.RegistryServiceServicer):
    """All methods of lichtbuch.registry.v1.RegistryService."""
