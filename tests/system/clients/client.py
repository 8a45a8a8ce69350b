"""A user of the client that openapi-python-client makes: an account, a payment, its balance, the trial balance, a
refusal."""

import json
import sys

from holdfast_client import AuthenticatedClient
from holdfast_client.api.accounts import create_account, get_balance
from holdfast_client.api.payments import submit_payment
from holdfast_client.api.reports import trial_balance
from holdfast_client.models import (
    AccountType,
    AcknowledgedPayment,
    BalanceBody,
    NewAccount,
    NewPayment,
    Problem,
    SplitPart,
    TrialBalanceBody,
)

_, base_url, key = sys.argv
client = AuthenticatedClient(base_url=base_url, token=key, timeout=60.0)

for account_id, kind in (("python:bank", AccountType.ASSET), ("python:alice", AccountType.LIABILITY)):
    create_account.sync(client=client, body=NewAccount(account_id, kind, "EUR"))

deposit = NewPayment("python-1", "python:bank", 500, "EUR", destination_account_id="python:alice")
made = submit_payment.sync(client=client, body=deposit, prefer="wait=30")
assert isinstance(made, AcknowledgedPayment), made
balance = get_balance.sync("python:alice", client=client)
assert isinstance(balance, BalanceBody), balance
report = trial_balance.sync(client=client)
assert isinstance(report, TrialBalanceBody), report
split = [SplitPart("python:bank", remainder=True)]
refused = submit_payment.sync(
    client=client, body=NewPayment("python-2", "python:alice", 501, "EUR", destinations=split)
)
assert isinstance(refused, Problem), refused
print(
    json.dumps(
        {
            "status": made.status,
            "balance_minor": balance.balance_minor,
            "balanced": all(total.balanced for total in report.totals),
            "refused": refused.code,
            "available_minor": refused["available_minor"],
        }
    )
)
