"""What the tests drive the system with. Holds no test."""
