"""The rail: the pages by what they are about. A page that is not there is left out."""

NAVIGATION: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("", (("overview.page", "Overview"),)),
    (
        "Ledger",
        (
            ("account_list.page", "Accounts"),
            ("search.page", "Search"),
            ("journals.page", "Journals"),
        ),
    ),
    (
        "Reports",
        (
            ("trial_balance.page", "Trial balance"),
            ("balance_sheet.page", "Balance sheet"),
            ("income_statement.page", "Income statement"),
        ),
    ),
    (
        "Proof",
        (
            ("reconciliation.page", "Reconciliation"),
            ("statements.page", "Statements"),
            ("audit.page", "Audit"),
        ),
    ),
    (
        "System",
        (
            ("events.page", "Events and webhooks"),
            ("operations.page", "Operations"),
            ("keys.page", "Keys"),
        ),
    ),
)

PART_OF = {"breaks": "reconciliation", "matching": "statements", "sign_offs": "statements"}
"""Pages that stand under another one in the rail, by their blueprints."""
