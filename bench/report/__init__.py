"""The report: JSON, a markdown table, plots, and one page that shows them."""
