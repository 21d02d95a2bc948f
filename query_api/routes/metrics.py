"""The API's figures for Prometheus. Open to everybody who reaches the port: they name no person and no session."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from procurator.query_api.metrics import ApiMetrics

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=Response, summary="Figures for Prometheus")
async def metrics(request: Request) -> Response:
    """Requests by route, method and status, latencies, the audit's latency, open live streams."""
    figures: ApiMetrics = request.app.state.metrics
    return Response(figures.page(), media_type=CONTENT_TYPE_LATEST)
