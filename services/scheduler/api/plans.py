"""Methods about plans: comparing with lighting now. What a profile would do is previews.py's."""

from __future__ import annotations

from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from servicekit.context import current_tenant
from services.scheduler.api.calls import Calls, Context


class PlanCalls(Calls):
    """Synchronises plans."""

    async def SynchronisePlans(
        self, request: pb.SynchronisePlansRequest, context: Context
    ) -> pb.SynchronisePlansResponse:
        """A pass over the municipality now; what lighting refused before is put again."""
        report = await self.synchroniser.synchronise(current_tenant(), retry_refused=True)
        return pb.SynchronisePlansResponse(
            equal=report.equal,
            put=report.put,
            refused=[f"{name}: {reason}" for name, reason in sorted(report.refused.items())],
        )
