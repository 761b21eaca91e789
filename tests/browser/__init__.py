"""What people see and do, in a real browser, on a stack of its own."""
