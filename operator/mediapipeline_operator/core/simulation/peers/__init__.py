"""Other autoscalers' laws, written from their published algorithms. Each module names its source."""
