"""Real WebRTC load on a media service, and independent checks of what it sends back."""
