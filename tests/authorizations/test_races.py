"""Sixteen at once on one authorization: exactly one end wins, and cache and ledger agree on which."""

import os
import time
from collections import Counter
from threading import Barrier, Thread

import pytest

from app.domain.authorizations import Authorization, AuthorizationState
from app.domain.payment import parse_payment_id
from app.domain.refusals import Refusal
from app.domain.reservations import ConcludeCode, ConcludeReply
from app.services.payments.authorizations import CLOCK, Concluded, conclusion_intent
from tests.world import World

CLIENTS = 16
ROUNDS = 100 if os.environ.get("HOLDFAST_LONG") == "1" else 20
AMOUNT = 300
CODES = {
    AuthorizationState.CAPTURED: "hold_already_captured",
    AuthorizationState.VOIDED: "hold_already_voided",
    AuthorizationState.EXPIRED: "hold_expired",
}


class _Client:
    """One process's services, and a wish for how the authorization shall end."""

    def __init__(self, world: World, number: int) -> None:
        cache = world.new_cache()
        self._cache = cache
        paying = world.new_payment_services(cache)
        self._directory, self._authorizations = paying.directory, paying.authorizations
        self.number = number

    def act(self, authorization: Authorization) -> Concluded | Refusal | ConcludeReply | None:
        """Capture all, capture part, void, or release as the clock would."""
        wish = self.number % 4
        if wish == 0:
            return self._authorizations.capture(authorization.payment_id, None, "key:test")
        if wish == 1:
            return self._authorizations.capture(authorization.payment_id, 100 + self.number, "key:test")
        if wish == 2:
            return self._authorizations.void(authorization.payment_id, "key:test")
        return self._release(authorization)

    def _release(self, authorization: Authorization) -> ConcludeReply:
        """The clock's conclusion, at a moment that it takes for late enough."""
        outbox_position = parse_payment_id(authorization.payment_id)
        assert outbox_position is not None
        made = conclusion_intent(authorization, AuthorizationState.EXPIRED, 0, CLOCK)
        version = self._directory.snapshot().version
        reply = self._cache.authorizations.conclude(outbox_position, made, AuthorizationState.EXPIRED, 1, version)
        assert isinstance(reply, ConcludeReply)
        return reply


def at_once(clients: list[_Client], authorization: Authorization) -> list[Concluded | Refusal | ConcludeReply | None]:
    """What each is answered."""
    barrier, answers = Barrier(len(clients)), [None] * len(clients)

    def run(n: int) -> None:
        barrier.wait()
        answers[n] = clients[n].act(authorization)  # type: ignore[call-overload]

    threads = [Thread(target=run, args=(n,)) for n in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert None not in answers
    return answers  # type: ignore[return-value]


def won(answer: Concluded | Refusal | ConcludeReply | None) -> bool:
    if isinstance(answer, ConcludeReply):
        return answer.code is ConcludeCode.CONCLUDED
    return isinstance(answer, Concluded) and not answer.replayed


@pytest.fixture
def world(world: World) -> World:
    world.bank()
    world.account("alice", balance_minor=AMOUNT * ROUNDS)
    world.account("bob")
    return world


def test_exactly_one_of_sixteen_ends_at_once_wins(world: World) -> None:
    clients = [_Client(world, number) for number in range(CLIENTS)]
    wins: Counter[AuthorizationState] = Counter()
    captured_in_all = 0
    for round_number in range(ROUNDS):
        accepted = world.accepted("alice", "bob", AMOUNT, manual_capture=True, expires_in_s=3_600)
        world.drain()
        authorization = world.ledger_authorizations.get(accepted.payment_id)
        assert authorization is not None
        turn = round_number % CLIENTS
        answers = at_once(clients[turn:] + clients[:turn], authorization)
        winners = [answer for answer in answers if won(answer)]
        assert len(winners) == 1, answers
        conclusion = world.cache.authorizations.conclusion(accepted.outbox_position)
        assert conclusion is not None
        for answer in answers:
            if isinstance(answer, Refusal):
                assert answer.code == CODES[conclusion.state]
            elif isinstance(answer, ConcludeReply):
                assert answer.conclusion is not None
                assert answer.conclusion.stream_id == conclusion.stream_id
            else:
                assert isinstance(answer, Concluded)
                assert answer.outbox_position.stream_id == conclusion.stream_id
                assert (answer.authorization.state, answer.authorization.captured_minor or 0) == (
                    conclusion.state,
                    conclusion.captured_minor,
                )
        wins[conclusion.state] += 1
        captured_in_all += conclusion.captured_minor
        assert world.cached("alice").funds.held_minor == conclusion.captured_minor
        world.drain()
        stored = world.ledger_authorizations.get(accepted.payment_id)
        assert stored is not None
        assert (stored.state, stored.captured_minor or 0) == (conclusion.state, conclusion.captured_minor)
        assert world.booked("bob") == captured_in_all
        state = world.cached("alice").funds
        assert (state.balance_minor, state.held_minor) == (AMOUNT * ROUNDS - captured_in_all, 0)
    assert wins.total() == ROUNDS
    assert world.rows("SELECT count(*) FROM hold_event") == [(2 * ROUNDS,)]
    assert world.rows("SELECT count(*) FROM payment_rejection") == [(0,)]
    world.assert_proven()


def test_ends_race_with_the_drain_and_the_loss_of_the_account(world: World) -> None:
    clients = [_Client(world, number) for number in range(CLIENTS)]
    drains = [world.new_drain(clock=time.monotonic) for _ in range(2)]
    captured_in_all = 0
    for round_number in range(ROUNDS // 2):
        accepted = world.accepted("alice", "bob", AMOUNT, manual_capture=True, expires_in_s=3_600)
        world.drain()
        authorization = world.ledger_authorizations.get(accepted.payment_id)
        assert authorization is not None
        threads = [Thread(target=drain.run_once) for drain in drains]
        if round_number % 2:
            world.client.delete(world.account_key("alice"))
            world.warm("alice")
        for thread in threads:
            thread.start()
        answers = at_once(clients, authorization)
        for thread in threads:
            thread.join()
        assert sum(won(answer) for answer in answers) == 1
        world.drain()
        stored = world.ledger_authorizations.get(accepted.payment_id)
        assert stored is not None
        assert stored.state is not AuthorizationState.AUTHORIZED
        captured_in_all += stored.captured_minor or 0
        assert world.booked("bob") == captured_in_all
    world.assert_proven()
