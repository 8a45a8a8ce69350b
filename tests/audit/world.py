"""The application with its audit: what was gathered is written before it is looked at."""

from typing import Any

from tests.api.world import World

COLUMNS = (
    *("called_at", "request_id", "action", "actor", "key_id", "entity_id", "ip", "method", "route", "path", "status"),
    *("code", "duration_us", "account_id", "payment_id", "external_id", "request", "response", "calls"),
)


class AuditWorld(World):
    """A world whose audit can be asked."""

    def records(self, where: str = "true", *parameters: Any) -> list[dict[str, Any]]:
        """Records as the database has them, in the order of the calls."""
        self.services.recorder.flush()
        query = f"SELECT {', '.join(COLUMNS)} FROM audit_call WHERE {where} ORDER BY called_at, number"
        return [dict(zip(COLUMNS, row, strict=True)) for row in self.sql(query, *parameters)]

    def record(self, request_id: str) -> dict[str, Any]:
        """The one record of a call."""
        [found] = self.records("request_id = %s", request_id)
        return found

    def named(self, request_id: str, **more: str) -> dict[str, str]:
        """The headers of a request with this id."""
        return {"X-Request-Id": request_id, **more}
