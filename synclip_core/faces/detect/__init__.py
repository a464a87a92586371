"""The bundled face networks, and MediaPipe's where it is installed."""
