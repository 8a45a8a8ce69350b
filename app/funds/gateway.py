"""The cache as the services see it: one object with all its verbs, each of them in the room of its script."""

from app.funds.concluding import Concluding
from app.funds.hot_accounts import HotAccounts
from app.funds.inspecting import Inspecting
from app.funds.outboxes import Outboxes
from app.funds.reserving import Reserving


class Funds(Reserving, HotAccounts, Concluding, Outboxes, Inspecting):
    """The hot state behind one Redis (or Valkey) client."""
