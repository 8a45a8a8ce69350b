"""A mixed load with outages: customers, a conductor who provokes each outage for real, and an auditor of his own."""
