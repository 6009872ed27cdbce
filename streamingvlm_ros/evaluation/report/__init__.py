"""The report of an evaluation: report.html."""
