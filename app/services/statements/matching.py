"""Matching statements with the ledger: running the rules, and trying rules before they are saved.

A run takes what is open on both sides and stores what the rules find. What finds nothing is kept with a suggested
reason and a break. Running again changes nothing that stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

from app.domain.match_items import FoundMatch
from app.domain.match_reasons import reasons_of_lines
from app.domain.match_records import NewSetup, RunReport, StatementAccount
from app.domain.matching import Matcher
from app.domain.matching_rules import DEFAULT_RULES, Rule, metadata_names, read_rules, rules_as_json
from app.domain.refusals import Refusal

if TYPE_CHECKING:
    from app.ledger.matching_run import LedgerMatching, MatchingSession
    from app.ledger.statement_accounts import LedgerStatementAccounts

EXAMPLES = 20
"""Matches that a trial shows one by one."""

_PROGRESS_ENTRIES = 10_000


class Matching:
    """Saves setups and runs them."""

    def __init__(self, accounts: LedgerStatementAccounts, ledger: LedgerMatching) -> None:
        self.accounts = accounts
        self._ledger = ledger

    def save(
        self,
        source_name: str,
        account_ref: str,
        currency_code: str,
        account_id: str,
        actor: str,
        *,
        starts_on: date | None = None,
        rules: Sequence[object] | None = None,
    ) -> tuple[StatementAccount, bool] | Refusal:
        """Save which account it is and the rules, as a new version where they differ; raises InvalidRules.

        Without `starts_on` matching begins with the first day of the statements, without `rules` with the usual ones.
        """
        checked = DEFAULT_RULES if rules is None else read_rules(rules)
        first = starts_on or self.accounts.first_day(source_name, account_ref, currency_code)
        wanted = NewSetup(
            source_name, account_ref, currency_code, account_id, first or date.max, rules_as_json(checked)
        )
        return self.accounts.save(wanted, actor)

    def run(
        self,
        account: StatementAccount,
        actor: str,
        *,
        trial_rules: Sequence[Rule] | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> RunReport:
        """Run the saved rules and store what they find.

        With `trial_rules` those are tried on everything, also on what is matched already, and nothing is stored.
        `progress` is told how many entries were read.
        """
        rules = account.rules() if trial_rules is None else trial_rules
        with self._ledger.begin(account) as session:
            if trial_rules is not None:
                session.discard()
            return self._run(session, account, rules, actor, progress, is_trial=trial_rules is not None)

    def _run(
        self,
        session: MatchingSession,
        account: StatementAccount,
        rules: Sequence[Rule],
        actor: str,
        progress: Callable[[int], None],
        *,
        is_trial: bool,
    ) -> RunReport:
        covered_through = session.covered_through()
        lines = session.lines(includes_matched=is_trial)
        entry_count, ledger_through = session.stage_entries()
        metadata = metadata_names(rules)
        matcher = Matcher(
            lines,
            rules,
            metadata=metadata,
            frozen_through=None if is_trial else account.signed_through,
            undone=session.parts_of_matches(undone=True),
        )
        for n, entry in enumerate(session.entries(metadata, includes_matched=is_trial)):
            matcher.offer(entry)
            if n % _PROGRESS_ENTRIES == 0:
                progress(n)
        found = matcher.run()
        report = _counted(found, sum(line.is_open for line in lines), entry_count)
        if is_trial:
            standing = session.parts_of_matches(undone=False)
            report.agreeing = sum(one.parts() in standing for one in found)
            report.examples = [_example(one) for one in found[:EXAMPLES]]
            return report
        unmatched = reasons_of_lines(matcher.open_lines(), lines, matcher.open_entries(), ledger_through)
        session.store(found, report, actor, covered_through)
        session.store_unmatched(unmatched, covered_through, actor, report)
        return report


def _counted(found: Sequence[FoundMatch], line_count: int, entry_count: int) -> RunReport:
    suggested = sum(one.is_suggestion for one in found)
    return RunReport(
        line_count=line_count,
        entry_count=entry_count,
        matched=len(found) - suggested,
        suggested=suggested,
        by_rule=dict(Counter(one.rule.name for one in found)),
    )


def _example(one: FoundMatch) -> Mapping[str, object]:
    return {
        "rule": one.rule.name,
        "lines": [str(line.statement_line_id) for line in one.lines],
        "entries": [entry.entry_number for entry in one.entries],
        "lines_minor": one.lines_minor,
        "entries_minor": one.entries_minor,
        "days_apart": one.days_apart,
        "is_suggestion": one.is_suggestion,
    }
