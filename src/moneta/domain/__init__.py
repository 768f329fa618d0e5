"""What is true: frozen values, pure rules and state tables. No I/O, no clock, no third party."""
