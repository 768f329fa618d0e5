"""The worker process: processes queued events, ends contracts whose time is over, delivers webhooks."""
