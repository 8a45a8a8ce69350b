"""An exception for each code of a refusal. `generate.py` makes this file; do not edit it."""

from __future__ import annotations

from holdfast_client.errors import Refused


class AccountClosed(Refused):
    """`account_closed`, status 422."""

    of_code = "account_closed"


class AccountExists(Refused):
    """`account_exists`, status 409."""

    of_code = "account_exists"


class AccountFrozen(Refused):
    """`account_frozen`, status 422."""

    of_code = "account_frozen"


class AccountNotEmpty(Refused):
    """`account_not_empty`, status 422."""

    of_code = "account_not_empty"


class AccountNotFound(Refused):
    """`account_not_found`, status 404."""

    of_code = "account_not_found"


class AccountPaused(Refused):
    """`account_paused`, status 409."""

    of_code = "account_paused"


class AccountsEqual(Refused):
    """`accounts_equal`, status 422."""

    of_code = "accounts_equal"


class AmountNotInteger(Refused):
    """`amount_not_integer`, status 422."""

    of_code = "amount_not_integer"


class AmountNotPositive(Refused):
    """`amount_not_positive`, status 422."""

    of_code = "amount_not_positive"


class AmountOutOfRange(Refused):
    """`amount_out_of_range`, status 422."""

    of_code = "amount_out_of_range"


class ApprovalNeeded(Refused):
    """`approval_needed`, status 403."""

    of_code = "approval_needed"


class AssetExists(Refused):
    """`asset_exists`, status 409."""

    of_code = "asset_exists"


class BalanceOutOfRange(Refused):
    """`balance_out_of_range`, status 422."""

    of_code = "balance_out_of_range"


class BatchCrossesPartitions(Refused):
    """`batch_crosses_partitions`."""

    of_code = "batch_crosses_partitions"


class BatchTooLarge(Refused):
    """`batch_too_large`, status 413."""

    of_code = "batch_too_large"


class BreakIncomplete(Refused):
    """`break_incomplete`, status 422."""

    of_code = "break_incomplete"


class BreakNotRepairable(Refused):
    """`break_not_repairable`, status 409."""

    of_code = "break_not_repairable"


class BreakSettled(Refused):
    """`break_settled`, status 409."""

    of_code = "break_settled"


class CaptureExceedsHold(Refused):
    """`capture_exceeds_hold`, status 422."""

    of_code = "capture_exceeds_hold"


class CurrencyMismatch(Refused):
    """`currency_mismatch`, status 422."""

    of_code = "currency_mismatch"


class EffectiveAtInFuture(Refused):
    """`effective_at_in_future`, status 422."""

    of_code = "effective_at_in_future"


class EntityMismatch(Refused):
    """`entity_mismatch`, status 422."""

    of_code = "entity_mismatch"


class ExpiryNotAllowed(Refused):
    """`expiry_not_allowed`, status 422."""

    of_code = "expiry_not_allowed"


class ExternalIdRefused(Refused):
    """`external_id_refused`, status 422."""

    of_code = "external_id_refused"


class ExternalIdReused(Refused):
    """`external_id_reused`, status 422."""

    of_code = "external_id_reused"


class Forbidden(Refused):
    """`forbidden`, status 403."""

    of_code = "forbidden"


class HoldAlreadyCaptured(Refused):
    """`hold_already_captured`, status 409."""

    of_code = "hold_already_captured"


class HoldAlreadyVoided(Refused):
    """`hold_already_voided`, status 409."""

    of_code = "hold_already_voided"


class HoldExpired(Refused):
    """`hold_expired`, status 409."""

    of_code = "hold_expired"


class HoldNotFound(Refused):
    """`hold_not_found`, status 404."""

    of_code = "hold_not_found"


class InsufficientFunds(Refused):
    """`insufficient_funds`, status 422."""

    of_code = "insufficient_funds"


class InvalidCursor(Refused):
    """`invalid_cursor`, status 400."""

    of_code = "invalid_cursor"


class InvalidId(Refused):
    """`invalid_id`, status 422."""

    of_code = "invalid_id"


class JournalAlreadyReversed(Refused):
    """`journal_already_reversed`, status 409."""

    of_code = "journal_already_reversed"


class JournalNotFound(Refused):
    """`journal_not_found`, status 404."""

    of_code = "journal_not_found"


class JournalReturnsNothing(Refused):
    """`journal_returns_nothing`, status 422."""

    of_code = "journal_returns_nothing"


class JournalUnbalanced(Refused):
    """`journal_unbalanced`, status 422."""

    of_code = "journal_unbalanced"


class KeyNotRotatable(Refused):
    """`key_not_rotatable`, status 409."""

    of_code = "key_not_rotatable"


class LimitBelowUse(Refused):
    """`limit_below_use`, status 422."""

    of_code = "limit_below_use"


class LinkedPaymentFailed(Refused):
    """`linked_payment_failed`, status 409."""

    of_code = "linked_payment_failed"


class MalformedRequest(Refused):
    """`malformed_request`, status 400."""

    of_code = "malformed_request"


class MatchConflict(Refused):
    """`match_conflict`, status 409."""

    of_code = "match_conflict"


class MatchDiffers(Refused):
    """`match_differs`, status 422."""

    of_code = "match_differs"


class MethodNotAllowed(Refused):
    """`method_not_allowed`."""

    of_code = "method_not_allowed"


class NotFound(Refused):
    """`not_found`, status 404."""

    of_code = "not_found"


class OptimisticLockConflict(Refused):
    """`optimistic_lock_conflict`, status 409."""

    of_code = "optimistic_lock_conflict"


class PayloadTooLarge(Refused):
    """`payload_too_large`, status 413."""

    of_code = "payload_too_large"


class PaymentNotFound(Refused):
    """`payment_not_found`, status 404."""

    of_code = "payment_not_found"


class PaymentNotPosted(Refused):
    """`payment_not_posted`, status 409."""

    of_code = "payment_not_posted"


class PeriodSignedOff(Refused):
    """`period_signed_off`, status 409."""

    of_code = "period_signed_off"


class PreconditionFailed(Refused):
    """`precondition_failed`, status 412."""

    of_code = "precondition_failed"


class ProposalDecided(Refused):
    """`proposal_decided`, status 409."""

    of_code = "proposal_decided"


class ProposalNotFound(Refused):
    """`proposal_not_found`, status 404."""

    of_code = "proposal_not_found"


class RefundExceedsPayment(Refused):
    """`refund_exceeds_payment`, status 422."""

    of_code = "refund_exceeds_payment"


class RejectedByLedger(Refused):
    """`rejected_by_ledger`, status 422."""

    of_code = "rejected_by_ledger"


class SecondPersonNeeded(Refused):
    """`second_person_needed`."""

    of_code = "second_person_needed"


class SignOffIncomplete(Refused):
    """`sign_off_incomplete`, status 409."""

    of_code = "sign_off_incomplete"


class SplitsDoNotAddUp(Refused):
    """`splits_do_not_add_up`, status 422."""

    of_code = "splits_do_not_add_up"


class TwoGuardedAccounts(Refused):
    """`two_guarded_accounts`, status 422."""

    of_code = "two_guarded_accounts"


class Unauthenticated(Refused):
    """`unauthenticated`, status 401."""

    of_code = "unauthenticated"


class UnknownCurrency(Refused):
    """`unknown_currency`, status 422."""

    of_code = "unknown_currency"


class UnsupportedContentEncoding(Refused):
    """`unsupported_content_encoding`, status 415."""

    of_code = "unsupported_content_encoding"
