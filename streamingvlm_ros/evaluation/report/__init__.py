"""The results of an evaluation as one page for people: report.html."""
