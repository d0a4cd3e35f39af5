"""Prints at the end what the campaigns have counted."""

import campaigns


def pytest_terminal_summary(terminalreporter):
    if campaigns.lines:
        terminalreporter.section("campaigns" + ("" if campaigns.FULL else " (short)"))
        for line in campaigns.lines:
            terminalreporter.line(line)
        campaigns.lines.clear()
