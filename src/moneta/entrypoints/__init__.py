"""Who asks: HTTP, console, worker, command line, AWS Lambda. Translation only."""
