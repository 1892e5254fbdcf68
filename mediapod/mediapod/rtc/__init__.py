"""aiortc made fit for bounded latency. Only `compat` touches private names of aiortc and aioice."""
