"""The health policy, pure: what an error is, how it is counted, what to do next. No clock and no I/O."""
