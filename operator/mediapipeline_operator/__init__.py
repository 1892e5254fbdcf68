"""The MediaPipeline operator: reconciles and scales real-time media services on Kubernetes."""

__version__ = "0.1.0"
