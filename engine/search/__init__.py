"""Search: plan, filters, the stages over the segments of a snapshot, and explanations."""
