"""Waves of movements: what may be sent at once, whatever the file."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from app.domain.bank_file import Movement, waves

movements = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40).map(
    lambda rows: [
        Movement(str(number), account, datetime(1993, 1, 1, tzinfo=UTC), is_credit, 1, {})
        for number, (account, is_credit) in enumerate(rows)
    ]
)


@given(movements, st.integers(1, 50))
def test_each_movement_is_in_one_wave_and_each_account_keeps_its_order(file: list[Movement], window: int) -> None:
    sent = [movement for wave in waves(file, window) for movement in sorted(wave, key=lambda one: one.is_credit)]
    for account in "abc":
        of_account = [movement for movement in file if movement.account_id == account]
        for is_credit in (True, False):
            same_way = [one for one in of_account if one.is_credit == is_credit]
            assert [one for one in sent if one.account_id == account and one.is_credit == is_credit] == same_way
    assert len(sent) == len(file)


@given(movements, st.integers(1, 50))
def test_a_debit_sees_the_credits_before_it_and_none_behind_it(file: list[Movement], window: int) -> None:
    outbox_position = {movement.transaction_id: number for number, movement in enumerate(file)}
    wave_of = {one.transaction_id: number for number, wave in enumerate(waves(file, window)) for one in wave}
    for wave in waves(file, window):
        assert wave == sorted(wave, key=lambda one: one.is_credit), "the debits go first"
        assert 0 < len(wave) <= window
    for debit in (one for one in file if not one.is_credit):
        for credit in (one for one in file if one.is_credit and one.account_id == debit.account_id):
            is_before = outbox_position[credit.transaction_id] < outbox_position[debit.transaction_id]
            is_posted = wave_of[credit.transaction_id] < wave_of[debit.transaction_id]
            assert is_posted == is_before


def test_movements_of_other_accounts_do_not_wait_for_one_that_goes_up_and_down() -> None:
    rows = [("a", True), ("b", True), ("a", False), ("c", True), ("a", True), ("b", False), ("c", False)]
    file = [
        Movement(account + str(number), account, datetime(1993, 1, 1, tzinfo=UTC), is_credit, 1, {})
        for number, (account, is_credit) in enumerate(rows)
    ]
    found = [[one.transaction_id for one in wave] for wave in waves(file, 100)]
    assert found == [["a0", "b1", "c3"], ["a2", "b5", "c6", "a4"]]
