"""`ctr-fanout`: the operator's commands. They ask the core for answers and never re-implement it."""
