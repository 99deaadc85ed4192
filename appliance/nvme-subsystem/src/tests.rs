//! Goal of these tests: a host gets what the standard and Linux expect.
