"""Uses of the operations of webhooks and monitors, for tests that walk every operation."""

from collections.abc import Callable
from typing import Any

from tests.api.world import World

Use = Callable[..., Any]


def use_webhooks_and_monitors(world: World, use: Use, account_id: str) -> dict[str, str]:
    """Use each operation that makes or changes something; the ids of an endpoint and a monitor that are there."""
    endpoint = {"url": "https://shop.example/hook"}
    endpoint_id = use("create_webhook", "POST", "/v1/webhooks", endpoint)["endpoint_id"]
    use("change_webhook", "PATCH", f"/v1/webhooks/{endpoint_id}", {"name": "The shop"})
    use("rotate_webhook_secret", "POST", f"/v1/webhooks/{endpoint_id}/rotate", {})
    use("resend_dead_letters", "POST", f"/v1/webhooks/{endpoint_id}/resend", {})
    other = use("create_webhook", "POST", "/v1/webhooks", endpoint)["endpoint_id"]
    use("delete_webhook", "DELETE", f"/v1/webhooks/{other}")
    condition = {"account_id": account_id, "measure": "held", "comparison": "above", "threshold_minor": 1}
    monitor_id = use("create_monitor", "POST", "/v1/monitors", condition)["monitor_id"]
    other = use("create_monitor", "POST", "/v1/monitors", condition)["monitor_id"]
    use("end_monitor", "DELETE", f"/v1/monitors/{other}")
    world.services.feed.stop()  # a stream ends at once
    return {"endpoint_id": endpoint_id, "monitor_id": monitor_id}
