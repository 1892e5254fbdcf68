"""The device process of a pod: the only one with a CUDA context, shared by all media workers."""
